import type { ProfileResult } from "./profile.js";

/** An event of the Trace Event Format (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): times in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args: Readonly<Record<string, string | number>>;
}

/** How every trace begins, by which its file is known again. */
export const traceBeginning: string = '{\n "displayTimeUnit": "ms",\n "otherData": {\n  "model": ';

/** One replay of a profile as JSON that chrome://tracing and ui.perfetto.dev open: a track with one slice a dispatch, and one with the blocks. */
export function chromeTrace(name: string, { adapter, batch, clock, dispatches, timeline }: ProfileResult, adapterName: string): string {
  const [pid, dispatchTrack, blockTrack] = [1, 2, 1];
  const called = (tid: number, text: string): TraceEvent => ({ name: "thread_name", ph: "M", pid, tid, args: { name: text } });
  const slices = dispatches.map(({ label, kind, choice, launches, flops, bytes, flopRate, byteRate, bound }, i): TraceEvent => {
    const { begin, end } = timeline[i]!;
    const args = { choice, kernels: launches.map(({ kernel, workgroups }) => `${kernel} ${workgroups.join(" x ")}`).join(", "), flops, bytes, "GFLOP/s": round(flopRate / 1e9), "GB/s": round(byteRate / 1e9), bound };
    return { name: label, ph: "X", pid, tid: dispatchTrack, ts: begin, dur: end - begin, cat: kind, args };
  });
  const blocks = new Map<string, { begin: number; end: number; count: number }>();
  dispatches.forEach(({ label }, i) => {
    const block = /^blocks\.\d+/.exec(label)?.[0];
    if (block === undefined) return;
    const { begin, end } = timeline[i]!;
    const known = blocks.get(block) ?? { begin, end, count: 0 };
    blocks.set(block, { begin: known.begin, end, count: known.count + 1 });
  });
  const traceEvents: TraceEvent[] = [
    { name: "process_name", ph: "M", pid, tid: 0, args: { name: `${name}, batch ${batch}, on ${adapterName}` } },
    called(blockTrack, "blocks"),
    called(dispatchTrack, "dispatches"),
    ...[...blocks].map(([block, { begin, end, count }]): TraceEvent => ({ name: block, ph: "X", pid, tid: blockTrack, ts: begin, dur: end - begin, cat: "block", args: { dispatches: count } })),
    ...slices,
  ];
  const otherData = { model: name, batch, adapter: adapterName, software: adapter.software, clock };
  return `${JSON.stringify({ displayTimeUnit: "ms", otherData, traceEvents }, null, 1)}\n`;
}

const round = (value: number): number => Number(value.toPrecision(4));

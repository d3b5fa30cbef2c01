import { short } from "../explain/format.js";
import { markup, type Markup } from "../explain/page/markup.js";
import type { ProfileResult } from "./profile.js";

const size = { width: 900, height: 420, left: 78, right: 24, top: 24, bottom: 48 } as const;

/** A scale from values to pixels by powers of ten, with its whole decades. */
interface Axis {
  at(value: number): number;
  readonly decades: readonly number[];
}

/** Dispatches under the roofline of the adapter's measured peaks, as SVG: FLOPs a byte to the right, FLOP/s upwards, a dot a dispatch. */
export function roofline({ dispatches, peaks }: ProfileResult): Markup {
  const drawn = dispatches.filter(({ flops, bytes, microseconds }) => flops > 0 && bytes > 0 && microseconds > 0);
  const [compute, memory] = [peaks.compute.rate, peaks.memory.rate];
  const ridge = compute / memory;
  const intensity = ({ flops, bytes }: (typeof drawn)[number]): number => flops / bytes;
  const x = axis([ridge, ...drawn.map(intensity)], size.left, size.width - size.right);
  const y = axis([compute, ...drawn.map(({ flopRate }) => flopRate)], size.height - size.bottom, size.top);
  const [left, right, bottom] = [10 ** x.decades[0]!, 10 ** x.decades.at(-1)!, 10 ** y.decades[0]!];
  // The slope is drawn from where it enters the picture: at its left edge, or at its floor.
  const start = Math.max(left, bottom / memory);
  const roof = [[start, start * memory], [ridge, compute], [right, compute]].filter(([at]) => at! >= start).map(([at, rate]) => `${x.at(at!).toFixed(1)},${y.at(rate!).toFixed(1)}`).join(" ");
  const most = Math.max(...drawn.map(({ microseconds }) => microseconds), 1e-9);
  return markup`<svg class="roofline" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="FLOP/s of each dispatch over its FLOPs a byte">
${x.decades.map((decade) => markup`<line class="grid" x1="${x.at(10 ** decade)}" x2="${x.at(10 ** decade)}" y1="${size.top}" y2="${size.height - size.bottom}"/><text x="${x.at(10 ** decade)}" y="${size.height - size.bottom + 18}" text-anchor="middle">${Number((10 ** decade).toPrecision(1))}</text>`)}
${y.decades.map((decade) => markup`<line class="grid" x1="${size.left}" x2="${size.width - size.right}" y1="${y.at(10 ** decade)}" y2="${y.at(10 ** decade)}"/><text x="${size.left - 8}" y="${y.at(10 ** decade) + 4}" text-anchor="end">${short(10 ** decade)}</text>`)}
<text x="${size.width - size.right}" y="${size.height - 8}" text-anchor="end">FLOPs a byte</text><text x="${size.left}" y="${size.top - 8}" text-anchor="end">FLOP/s</text>
<polyline class="roof" points="${roof}"/><text class="peak" x="${size.width - size.right - 6}" y="${y.at(compute) - 8}" text-anchor="end">${short(compute)}FLOP/s, ${short(memory)}B/s</text>
${drawn.map((dispatch) => markup`<circle class="k-${dispatch.kind}" data-dispatch="${dispatch.index}" cx="${x.at(intensity(dispatch)).toFixed(1)}" cy="${y.at(dispatch.flopRate).toFixed(1)}" r="${(3 + 9 * Math.sqrt(dispatch.microseconds / most)).toFixed(1)}"><title>${dispatch.label}: ${short(dispatch.flopRate)}FLOP/s at ${intensity(dispatch).toPrecision(3)} FLOP/byte</title></circle>`)}
</svg><p class="scale"><span>The larger a dot, the longer its dispatch takes.</span></p>`;
}

/** Whole decades that hold all values, spread over the pixels from `from` to `to`. */
function axis(values: readonly number[], from: number, to: number): Axis {
  const logs = values.map(Math.log10);
  const low = Math.floor(Math.min(...logs));
  const high = Math.max(low + 1, Math.ceil(Math.max(...logs)));
  return {
    at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from),
    decades: Array.from({ length: high - low + 1 }, (_, i) => low + i),
  };
}

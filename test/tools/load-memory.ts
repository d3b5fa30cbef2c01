/**
 * How much memory loading weights takes: `node --expose-gc --import tsx load-memory.ts '{"model": "timm:vit_large_patch16_224", ...}'` makes a
 * weight file of zeros, loads it in this process, and prints what that took as one line of JSON. A process of its own, because the largest
 * amount of memory that a process ever had never gets smaller.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { specByName } from "../../compiler/families/index.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { abi, Model } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { DType, Naming, WeightRecipe } from "../../runtime/plan.js";
import { loadWeights } from "../../runtime/weights.js";

export interface MemoryOptions {
  readonly model: string;
  /** Blocks, where fewer than the model's show as much. */
  readonly depth?: number;
  /** How the file stores its tensors. */
  readonly file: "F32" | "F16" | "BF16" | "F64";
  /** What the package is compiled for. */
  readonly dtype: DType;
  /** Whose names the file has; default: the model's own. */
  readonly naming?: string;
  /** Files that an index lists, instead of one. */
  readonly shards?: number;
  /** Load it onto an adapter, whose memory is this process's if it is a software adapter. Default: packed tensors are counted and dropped. */
  readonly adapter?: "auto" | "software";
}

export interface MemoryReport {
  readonly fileBytes: number;
  /** Of the largest tensor of the file. */
  readonly largestTensor: number;
  readonly packedBytes: number;
  /** The most that the process had above what it had before loading, in bytes. */
  readonly peak: number;
  /** The most that it had in all. */
  readonly process: number;
  readonly seconds: number;
  /** Progress by bytes: how many reports, the last of them, and whether each was at least the one before. */
  readonly progress: { readonly reports: number; readonly loaded: number; readonly total: number; readonly steady: boolean };
}

const elementBytes = { F64: 8, F32: 4, F16: 2, BF16: 2 } as const;

/** Tensors of zeros as files that the system stores no block of. */
function writeZeros(folder: string, recipe: WeightRecipe, { file: dtype, naming, shards = 1 }: MemoryOptions): { readonly path: string; readonly bytes: number; readonly largest: number } {
  const own = [...new Map(recipe.tensors.flatMap(({ sources }) => sources).map(({ names, shape }) => [names[0]!, shape])).entries()];
  const wanted = naming === undefined ? own : own.flatMap(([name, shape]) => spelled(name, shape, recipe.namings!.find((each) => each.name === naming)!));
  const sizes = wanted.map(([, shape]) => shape.reduce((product, n) => product * n, 1) * elementBytes[dtype]);
  let total = 0;
  const weight_map: Record<string, string> = {};
  const each = Math.ceil(wanted.length / shards);
  for (let shard = 0; shard < shards; shard++) {
    const name = shards === 1 ? "model.safetensors" : `model-${shard + 1}.safetensors`;
    let end = 0;
    const entries = wanted.slice(shard * each, (shard + 1) * each).map(([tensor, shape], i) => {
      weight_map[tensor] = name;
      const begin = end;
      end += sizes[shard * each + i]!;
      return [tensor, { dtype, shape, data_offsets: [begin, end] }] as const;
    });
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const file = openSync(join(folder, name), "w");
    writeSync(file, Buffer.concat([length, header]));
    ftruncateSync(file, 8 + header.length + end);
    closeSync(file);
    total += 8 + header.length + end;
  }
  const path = join(folder, shards === 1 ? "model.safetensors" : "model.safetensors.index.json");
  if (shards > 1) {
    const index = openSync(path, "w");
    writeSync(index, JSON.stringify({ metadata: {}, weight_map }));
    closeSync(index);
  }
  return { path, bytes: total, largest: Math.max(...sizes) };
}

/** The tensors that a parameter is made of in files of an ecosystem, in its first spelling. */
function spelled(parameter: string, shape: readonly number[], { rules }: Naming): readonly (readonly [name: string, shape: readonly number[]])[] {
  for (const [pattern, tensors, form = "same"] of rules) {
    const [, ...groups] = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", "(\\d+)")}${pattern === "" || pattern.endsWith(".") ? "(.*)" : "()"}$`).exec(parameter) ?? [];
    const rest = groups.pop();
    if (rest === undefined) continue;
    if (form !== "same" && form !== "squeezed" && form !== "stacked" && form !== "zeros") throw new Error(`${parameter} is ${form}`);
    const own = form === "stacked" ? [shape[0]! / tensors.length, ...shape.slice(1)] : shape;
    return tensors.map((spellings) => [spellings.split("|")[0]!.replace("~", "").replaceAll("*", groups[0] ?? "") + rest, own]);
  }
  return [[parameter, shape]];
}

/** Of this process, in bytes: what it has, and the most that it ever had. */
function memory(): { readonly now: number; readonly most: number } {
  const status = readFileSync("/proc/self/status", "utf8");
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)![1]) * 1024;
  return { now: field("VmRSS"), most: field("VmHWM") };
}

async function measure(options: MemoryOptions): Promise<MemoryReport> {
  const { plan, kernels, recipe } = makePlan(resolve({ ...specByName(options.model).spec, ...(options.depth !== undefined && { depth: options.depth }) }), { dtype: options.dtype });
  const folder = mkdtempSync(join(tmpdir(), "vitc-memory-"));
  try {
    const { path, bytes: fileBytes, largest: largestTensor } = writeZeros(folder, recipe, options);
    let reports = 0;
    let [last, total] = [0, 0];
    let steady = true;
    const onProgress = ({ stage, loaded, total: all }: { readonly stage: string; readonly loaded: number; readonly total: number }): void => {
      if (stage !== "weights") return;
      reports++;
      steady &&= loaded >= last && loaded <= all;
      [last, total] = [loaded, all];
    };
    globalThis.gc?.();
    const { now } = memory();
    const started = performance.now();
    if (options.adapter === undefined) await loadWeights(recipe, await platform.fromPath(path), { onProgress, upload: () => undefined });
    else {
      const variant = { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe };
      const model = await Model.load({ abi, variants: [variant], command: "npx vitc compile", platform: () => Promise.resolve(platform) }, { weights: path, adapter: options.adapter, onProgress, onNotice: () => undefined });
      model.dispose();
    }
    const { most } = memory();
    return { fileBytes, largestTensor, packedBytes: plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0), peak: most - now, process: most, seconds: (performance.now() - started) / 1000, progress: { reports, loaded: last, total, steady } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

console.log(JSON.stringify(await measure(JSON.parse(process.argv[2]!) as MemoryOptions)));

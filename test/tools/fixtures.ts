import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ViTSpec } from "../../compiler/spec/types.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";

/** A fixture of the notes' model: the spec in our words, its weights, and PyTorch's f64 results. */
export interface Fixture {
  readonly name: string;
  readonly spec: ViTSpec;
  readonly weightsPath: string;
  readonly ioPath: string;
  /** `input`, `logits` and `tap.*`. */
  readonly io: ReadonlyMap<string, Tensor>;
}

const root = fileURLToPath(new URL("../fixtures/", import.meta.url));

export const fixturePath = (path: string): string => `${root}${path}`;

/** A safetensors file of f32 tensors, read without any of the code under test. */
export function readTensors(path: string): Map<string, Tensor> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start).toString("utf8")) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data_offsets: range }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (dtype !== "F32") throw new Error(`${path}: ${name} is ${dtype}`);
    const bytes = file.subarray(start + range[0], start + range[1]);
    tensors.set(name, { shape, data: Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4)) });
  }
  return tensors;
}

interface NotesConfig {
  image: number; patch: number; channels: number; classes: number; dim: number; depth: number; heads: number; mlp_ratio: number;
  qkv_bias: boolean; qk_scale: number | null; representation: number; distilled: boolean; act: "gelu" | "relu"; eps: number;
  pool: "token" | "avg" | "max"; stem: [number, number, number][] | null;
}

export const noteNames: readonly string[] = readdirSync(`${root}notes`).toSorted();

/** A fixture of `test/fixtures/notes`, asking for every output that it has a reference for. */
export function noteFixture(name: string): Fixture {
  const folder = `${root}notes/${name}`;
  const c = JSON.parse(readFileSync(`${folder}/config.json`, "utf8")) as NotesConfig;
  const io = readTensors(`${folder}/io.safetensors`);
  const outputs = [...io.keys()].filter((key) => key.startsWith("tap.")).map((key) => key.slice(4));
  const spec: ViTSpec = {
    name: `notes-${name}`,
    image: c.image,
    patch: c.patch,
    channels: c.channels,
    classes: c.classes,
    dim: c.dim,
    depth: c.depth,
    heads: c.heads,
    mlp: { ratio: c.mlp_ratio, activation: c.act },
    attention: { qkvBias: c.qkv_bias, ...(c.qk_scale === null ? {} : { scale: c.qk_scale }) },
    tokens: { class: true, distillation: c.distilled },
    norm: { eps: c.eps },
    pool: c.pool,
    representation: c.representation,
    ...(c.stem && { stem: c.stem.map(([channels, kernel, stride]) => ({ channels, kernel, stride })) }),
    outputs,
  };
  return { name, spec, weightsPath: `${folder}/weights.safetensors`, ioPath: `${folder}/io.safetensors`, io };
}

/** The reference for an output: fixtures call the main output `logits` and the others `tap.*`. */
export function reference(fixture: Fixture, output: string): Tensor {
  const tensor = fixture.io.get(`tap.${output}`) ?? fixture.io.get(output) ?? fixture.io.get("logits");
  if (!tensor) throw new Error(`${fixture.name} has no reference for ${output}`);
  return tensor;
}

/** The largest |actual - expected| / (1 + |expected|); Infinity if a value is missing or not finite. */
export function worstError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}

/** |actual - expected| / |expected|, in the Euclidean norm; Infinity if a value is missing or not finite. */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let [off, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    off += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  return Number.isFinite(off) ? Math.sqrt(off / size) : Infinity;
}

/** The class with the largest value in row `i`. */
export function bestOf(values: ArrayLike<number>, i: number, classes: number): number {
  const row = Array.from({ length: classes }, (_, c) => values[i * classes + c]!);
  return row.indexOf(Math.max(...row));
}

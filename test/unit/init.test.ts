import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { initialize, type InitScheme } from "../../compiler/checkpoint/init.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { RandomStream, randomState } from "../../compiler/ir/random.js";
import { CheckpointError, writeSafetensors, writeSafetensorsFile, type NamedTensor, type TensorShape } from "../../compiler/checkpoint/safetensors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { randomSpec } from "../tools/random-spec.js";

const dim = 96;

/** Every kind of parameter that a model can have, with a weight and a bias for each module. */
const parameters: readonly TensorShape[] = [
  { name: "cls_token", shape: [1, 1, dim * 64] },
  { name: "dist_token", shape: [1, 1, dim * 64] },
  { name: "reg_token", shape: [1, 4, dim * 16] },
  { name: "pos_embed", shape: [1, 101, dim] },
  ...pair("patch_embed.proj", [dim, 3, 8, 8]),
  { name: "patch_embed.backbone.0.weight", shape: [24, 12, 3, 3] },
  ...pair("patch_embed.backbone.1", [24]),
  { name: "patch_embed.backbone.1.running_mean", shape: [24] },
  { name: "patch_embed.backbone.1.running_var", shape: [24] },
  ...["patch_embed.norm", "norm_pre", "norm", "fc_norm", "blocks.0.norm1", "blocks.11.norm2"].flatMap((name) => pair(name, [dim])),
  ...pair("blocks.0.attn.qkv", [3 * dim, dim]),
  ...pair("blocks.0.attn.proj", [dim, dim]),
  ...pair("blocks.0.mlp.fc1", [40 * dim, dim]),
  ...pair("blocks.0.mlp.fc2", [dim, 40 * dim]),
  { name: "blocks.0.ls1.gamma", shape: [dim] },
  { name: "blocks.0.ls2.gamma", shape: [dim] },
  ...["blocks.0.attn.q_norm", "blocks.3.k_norm", "blocks.0.attn.norm", "blocks.0.mlp.norm", "blocks.1.in_norm", "blocks.2.attns.1.norm", "blocks.2.attns.0.attn.sub_norm", "blocks.2.ffns.1.norm", "attn_pool.norm"].flatMap((name) => pair(name, [dim])),
  ...pair("blocks.2.attns.1.attn.qkv", [3 * dim, dim]),
  ...pair("blocks.1.in_proj", [9 * dim, dim]),
  ...pair("blocks.1.mlp_out_proj", [dim, 6 * dim]),
  ...pair("blocks.0.attn.gate", [dim, dim]),
  ...pair("attn_pool.kv", [2 * dim, dim]),
  ...pair("attn_pool.mlp.fc1", [4 * dim, dim]),
  ...pair("attn_pool.mlp.fc2", [dim, 4 * dim]),
  { name: "attn_pool.latent", shape: [1, 1, 64 * dim] },
  { name: "blocks.1.mlp_bias", shape: [6 * dim] },
  { name: "blocks.0.attn.q_bias", shape: [dim] },
  { name: "blocks.2.attns.0.attn.v_bias", shape: [dim] },
  { name: "blocks.0.attn.relative_position_bias_table", shape: [732, 12] },
  { name: "blocks.1.lambda_q1", shape: [64 * dim] },
  { name: "blocks.0.attn.lambda_k2", shape: [64 * dim] },
  { name: "blocks.2.ffns.1.ls.gamma", shape: [dim] },
  ...pair("pre_logits.fc", [128, dim]),
  ...pair("head", [100, dim]),
  ...pair("head_dist", [100, dim]),
];

function pair(module: string, weight: readonly number[]): TensorShape[] {
  return [{ name: `${module}.weight`, shape: weight }, { name: `${module}.bias`, shape: [weight[0]!] }];
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

interface Moments {
  readonly mean: number;
  readonly std: number;
  readonly largest: number;
  /** Mean fourth power over std to the fourth: 3 for a normal, 1.8 for a uniform. */
  readonly kurtosis: number;
}

function measure(values: Float32Array): Moments {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count;
  const fourth = values.reduce((sum, value) => sum + (value - mean) ** 4, 0) / count;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { mean, std: Math.sqrt(variance), largest, kurtosis: fourth / variance ** 2 };
}

/** What a tensor must look like: one value, a normal (cut at two deviations of the uncut one or not at all) or a uniform. */
type Expected =
  | { readonly constant: number }
  | { readonly normal: number; readonly cut?: number }
  | { readonly uniform: number };

/** Standard deviations of the mean and the variance estimate that a seed may be off by: 1 in 10^6 seeds fails a comparison. */
const SIGMAS = 5;

function assertDistributed(values: Float32Array, expected: Expected, what: string): void {
  if ("constant" in expected) {
    assert.ok(values.every((value) => value === Math.fround(expected.constant)), `${what}: not all ${expected.constant}`);
    return;
  }
  const { mean, std, largest, kurtosis } = measure(values);
  const [wanted, shape, bound] = "uniform" in expected
    ? [expected.uniform / Math.sqrt(3), 1.8, expected.uniform]
    : [expected.normal, expected.cut === undefined ? 3 : 2.2, expected.cut ?? expected.normal * 7];
  const count = values.length;
  const meanError = (SIGMAS * wanted) / Math.sqrt(count);
  const stdError = SIGMAS * wanted * Math.sqrt((shape - 1) / (4 * count));
  assert.ok(Math.abs(mean) < meanError, `${what}: mean ${mean}, not within ${meanError} of 0`);
  assert.ok(Math.abs(std - wanted) < stdError, `${what}: std ${std}, not within ${stdError} of ${wanted}`);
  assert.ok(largest <= Math.fround(bound), `${what}: ${largest} is outside ${bound}`);
  if ("uniform" in expected || expected.cut !== undefined) assert.ok(largest > bound * (1 - 20 / count), `${what}: nothing comes near the bound ${bound}`);
  // The estimate of a normal's kurtosis spreads by sqrt(24 / n), and more than a uniform's does.
  if (count >= 1000) assert.ok(Math.abs(kurtosis - shape) < SIGMAS * Math.sqrt(24 / count) + 0.04, `${what}: kurtosis ${kurtosis} instead of ${shape}`);
}

const trunc: Expected = { normal: 0.02 };
const tiny: Expected = { normal: 1e-6 };
const zero: Expected = { constant: 0 };
const one: Expected = { constant: 1 };
const uniform = (bound: number): Expected => ({ uniform: bound });
const lecun = (fanIn: number): Expected => ({ normal: Math.sqrt(1 / fanIn), cut: (2 * Math.sqrt(1 / fanIn)) / 0.87962566103423978 });
const xavier = (fans: number): Expected => uniform(Math.sqrt(6 / fans));

/** The same in every scheme. */
const always: Readonly<Record<string, Expected>> = {
  "pos_embed": trunc, "dist_token": trunc, "reg_token": tiny,
  "patch_embed.backbone.1.weight": one, "patch_embed.backbone.1.bias": zero,
  "patch_embed.backbone.1.running_mean": zero, "patch_embed.backbone.1.running_var": one,
  "blocks.0.ls1.gamma": { constant: 1e-5 }, "blocks.0.ls2.gamma": { constant: 1e-5 }, "blocks.2.ffns.1.ls.gamma": { constant: 1e-5 },
  "attn_pool.latent": { normal: 0.87962566103423978 / Math.sqrt(64 * dim), cut: 2 / Math.sqrt(64 * dim) },
  "blocks.1.mlp_bias": zero, "blocks.0.attn.q_bias": zero, "blocks.2.attns.0.attn.v_bias": zero, "blocks.0.attn.relative_position_bias_table": zero,
  "blocks.1.lambda_q1": { normal: 0.1 }, "blocks.0.attn.lambda_k2": { normal: 0.1 },
  ...Object.fromEntries(
    [
      "patch_embed.norm", "norm_pre", "norm", "fc_norm", "blocks.0.norm1", "blocks.11.norm2", "blocks.0.attn.q_norm", "blocks.3.k_norm", "blocks.0.attn.norm", "blocks.0.mlp.norm", "blocks.1.in_norm",
      "blocks.2.attns.1.norm", "blocks.2.attns.0.attn.sub_norm", "blocks.2.ffns.1.norm", "attn_pool.norm",
    ].flatMap((name) => [[`${name}.weight`, one], [`${name}.bias`, zero]]),
  ),
};

const torchConvolutions: Readonly<Record<string, Expected>> = {
  "patch_embed.proj.weight": uniform(1 / Math.sqrt(192)), "patch_embed.proj.bias": uniform(1 / Math.sqrt(192)),
  "patch_embed.backbone.0.weight": uniform(1 / Math.sqrt(108)),
};

const truncatedLinears: Readonly<Record<string, Expected>> = Object.fromEntries(
  ["blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "pre_logits.fc", "head", "head_dist",
    "blocks.2.attns.1.attn.qkv", "blocks.1.in_proj", "blocks.1.mlp_out_proj", "blocks.0.attn.gate", "attn_pool.kv", "attn_pool.mlp.fc1", "attn_pool.mlp.fc2"]
    .flatMap((name): [string, Expected][] => [[`${name}.weight`, trunc], [`${name}.bias`, zero]]),
);

const expectations: Readonly<Record<InitScheme, Readonly<Record<string, Expected>>>> = {
  notes: { ...always, ...torchConvolutions, ...truncatedLinears, "cls_token": trunc },
  timm: { ...always, ...torchConvolutions, ...truncatedLinears, "cls_token": tiny },
  jax: {
    ...always,
    "cls_token": zero,
    "patch_embed.proj.weight": lecun(192), "patch_embed.proj.bias": zero,
    "patch_embed.backbone.0.weight": lecun(108),
    "blocks.0.attn.qkv.weight": xavier(4 * dim), "blocks.0.attn.qkv.bias": zero,
    "blocks.0.attn.proj.weight": xavier(2 * dim), "blocks.0.attn.proj.bias": zero,
    "blocks.0.mlp.fc1.weight": xavier(41 * dim), "blocks.0.mlp.fc1.bias": tiny,
    "blocks.0.mlp.fc2.weight": xavier(41 * dim), "blocks.0.mlp.fc2.bias": tiny,
    "blocks.2.attns.1.attn.qkv.weight": xavier(4 * dim), "blocks.2.attns.1.attn.qkv.bias": zero,
    "blocks.1.in_proj.weight": xavier(10 * dim), "blocks.1.in_proj.bias": zero,
    "blocks.1.mlp_out_proj.weight": xavier(7 * dim), "blocks.1.mlp_out_proj.bias": tiny,
    "blocks.0.attn.gate.weight": xavier(2 * dim), "blocks.0.attn.gate.bias": zero,
    "attn_pool.kv.weight": xavier(3 * dim), "attn_pool.kv.bias": zero,
    "attn_pool.mlp.fc1.weight": xavier(5 * dim), "attn_pool.mlp.fc1.bias": tiny,
    "attn_pool.mlp.fc2.weight": xavier(5 * dim), "attn_pool.mlp.fc2.bias": tiny,
    "pre_logits.fc.weight": lecun(dim), "pre_logits.fc.bias": zero,
    "head.weight": zero, "head.bias": zero, "head_dist.weight": zero, "head_dist.bias": zero,
  },
};

const schemes = suite("initialize");

for (const scheme of ["notes", "timm", "jax"] as const) {
  schemes(`fills every tensor by the rules of ${scheme}`, () => {
    const values = initialize(parameters, { seed: 20, scheme });
    assert.equal(Object.keys(expectations[scheme]).sort(), parameters.map((parameter) => parameter.name).sort());
    for (const { name, shape } of parameters) {
      const tensor = values(name);
      assert.is(tensor.length, elements(shape));
      assertDistributed(tensor, expectations[scheme][name]!, name);
    }
  });
}

schemes("gives the same values for a seed, a name and a shape, whatever else is asked for", () => {
  const all = initialize(parameters, { seed: 7, scheme: "timm" });
  const forward = parameters.map(({ name }) => all(name));
  const backward = parameters.toReversed().map(({ name }) => initialize(parameters.toReversed(), { seed: 7, scheme: "timm" })(name)).reverse();
  const alone = initialize([{ name: "pos_embed", shape: [1, 101, dim] }], { seed: 7, scheme: "timm" });
  forward.forEach((tensor, i) => assert.ok(Buffer.from(tensor.buffer).equals(Buffer.from(backward[i]!.buffer)), parameters[i]!.name));
  assert.equal(alone("pos_embed"), all("pos_embed"));
  assert.equal(all("pos_embed"), all("pos_embed"));
});

schemes("gives other values for another seed or name", () => {
  const values = initialize(parameters, { seed: 7, scheme: "timm" });
  const other = initialize(parameters, { seed: 8, scheme: "timm" });
  assert.not.equal(values("pos_embed").slice(0, 8), other("pos_embed").slice(0, 8));
  assert.not.equal(values("head.weight").slice(0, 8), values("head_dist.weight").slice(0, 8));
});

schemes("does not change from machine to machine, or from version to version", () => {
  const values = initialize(parameters, { seed: 1, scheme: "jax" });
  const bits = (name: string): string[] => [...new Uint32Array(values(name).buffer, 0, 3)].map((word) => word.toString(16));
  // Computed in Python, from hashlib's SHA-256 and math.log.
  assert.equal(bits("pos_embed"), ["3bf27fc5", "3c5db05d", "3c0d1dbc"]);
  assert.equal(bits("patch_embed.proj.weight"), ["3d690e39", "bd3d906e", "bace7f1c"]);
  assert.equal(bits("blocks.0.attn.qkv.weight"), ["3da44275", "bddea8fe", "bce67da9"]);
});

schemes("starts LayerScale from the value that the spec gives, whatever the scheme", () => {
  for (const scheme of ["notes", "timm", "jax"] as const) {
    for (const [layerScale, expected] of [[0.25, 0.25], [0, 0], [undefined, 1e-5]] as const) {
      const values = initialize(parameters, { seed: 1, scheme, layerScale });
      for (const name of ["blocks.0.ls1.gamma", "blocks.0.ls2.gamma"]) assertDistributed(values(name), { constant: expected }, name);
    }
  }
});

schemes("knows every parameter of 200 random models", () => {
  for (const spec of fc.sample(randomSpec, { numRuns: 200, seed: 1 })) {
    const shapes = buildGraph(resolve(spec), { batch: 1 }).parameters.map(({ name, value }) => ({ name, shape: value.shape }));
    for (const scheme of ["notes", "timm", "jax"] as const) {
      const values = initialize(shapes, { seed: 1, scheme });
      for (const { name, shape } of shapes) assert.is(values(name).length, elements(shape), name);
    }
  }
});

schemes("opens the gates of an MLP, whose layer is the second half of one or one of its own", () => {
  const gated = [
    ...pair("blocks.0.mlp.fc1", [80 * dim, dim]), ...pair("blocks.0.mlp.fc2", [dim, 40 * dim]),
    ...pair("blocks.1.ffns.0.mlp.fc1_g", [40 * dim, dim]), ...pair("blocks.1.ffns.0.mlp.fc1_x", [40 * dim, dim]), ...pair("blocks.1.ffns.0.mlp.fc2", [dim, 40 * dim]),
  ];
  const plain = { notes: [trunc, zero], timm: [trunc, zero], jax: [xavier(81 * dim), tiny] } as const;
  for (const scheme of ["notes", "timm", "jax"] as const) {
    const values = initialize(gated, { seed: 5, scheme });
    const half = (name: string, part: 0 | 1) => values(name).slice((part * values(name).length) / 2, ((part + 1) * values(name).length) / 2);
    assertDistributed(half("blocks.0.mlp.fc1.weight", 0), plain[scheme][0], scheme);
    assertDistributed(half("blocks.0.mlp.fc1.bias", 0), plain[scheme][1], scheme);
    assertDistributed(values("blocks.1.ffns.0.mlp.fc1_x.weight"), scheme === "jax" ? xavier(41 * dim) : trunc, scheme);
    assertDistributed(values("blocks.1.ffns.0.mlp.fc1_x.bias"), plain[scheme][1], scheme);
    for (const weight of [half("blocks.0.mlp.fc1.weight", 1), values("blocks.1.ffns.0.mlp.fc1_g.weight")]) assertDistributed(weight, tiny, scheme);
    for (const bias of [half("blocks.0.mlp.fc1.bias", 1), values("blocks.1.ffns.0.mlp.fc1_g.bias")]) assertDistributed(bias, one, scheme);
  }
});

schemes("starts learned rotary positions from timm's wavelengths, turned by an angle of each block and head", () => {
  const [depth, heads, quarter] = [3, 2, 4];
  for (const [temperature, base] of [[100, 100], [undefined, 10]] as const) {
    const values = initialize([{ name: "rope.freqs", shape: [2, depth, heads, 2 * quarter] }], { seed: 1, scheme: "timm", temperature })("rope.freqs");
    const at = (axis: number, turn: number, i: number): number => values[(axis * depth * heads + turn) * 2 * quarter + i]!;
    const angles = Array.from({ length: depth * heads }, (_, turn) => Math.atan2(at(1, turn, 0), at(0, turn, 0)));
    assert.is(new Set(angles).size, depth * heads);
    for (const [turn, angle] of angles.entries()) {
      for (let i = 0; i < 2 * quarter; i++) {
        // init_random_2d_freqs: mag = 1 / temperature ** (arange(0, head_dim, 4) / head_dim), then cos and sin of the angle, and of it plus pi / 2.
        const [length, turned] = [base ** (-(4 * (i % quarter)) / (4 * quarter)), i < quarter ? angle : angle + Math.PI / 2];
        assert.ok(Math.abs(at(0, turn, i) - length * Math.cos(turned)) < 1e-6 && Math.abs(at(1, turn, i) - length * Math.sin(turned)) < 1e-6, `turn ${turn}, ${i}`);
      }
    }
  }
});

schemes("names every tensor that it cannot fill", () => {
  const odd: TensorShape[] = [
    { name: "blocks.0.attn.qk_norm.weight", shape: [8] },
    { name: "blocks.0.attn.qkv.weight", shape: [8] },
    { name: "patch_embed.backbone.1.bias", shape: [8] },
    { name: "head.weight", shape: [10, NaN] },
    { name: "norm.weight", shape: [2 ** 40] },
    { name: "head_dist.weight", shape: [10, 8] },
    { name: "head_dist.bias", shape: [11] },
    { name: "cls_token", shape: [1, 1, 8] },
    { name: "cls_token", shape: [1, 1, 8] },
  ];
  assert.throws(() => initialize(odd, { seed: 0, scheme: "notes" }), (error: unknown) => {
    assert.instance(error, CheckpointError);
    const lines = (error as Error).message.split("\n");
    assert.is(lines.length, 1 + 7, lines.join("\n"));
    assert.match(lines[1]!, /"blocks\.0\.attn\.qk_norm\.weight" \[8\]: no rule knows this name/);
    assert.match(lines[2]!, /"blocks\.0\.attn\.qkv\.weight" \[8\]: it must have 2 axes, not 1/);
    assert.match(lines[3]!, /its weight "patch_embed\.backbone\.1\.weight" is missing/);
    assert.match(lines[4]!, /"head\.weight" \[10, NaN\]: sizes must be whole/);
    assert.match(lines[5]!, /"norm\.weight" \[1099511627776\]: .* at most 536870912 values/);
    assert.match(lines[6]!, /"head_dist\.bias" \[11\]: it does not fit its weight of shape \[10, 8\]/);
    assert.match(lines[7]!, /"cls_token" is given twice/);
    return true;
  });
});

schemes("refuses seeds and schemes that do not exist, and names that the model has not", () => {
  for (const seed of [-1, 0.5, NaN, 2 ** 53]) assert.throws(() => initialize([], { seed, scheme: "timm" }), /seed is .*: it must be a whole number/);
  assert.throws(() => initialize([], { seed: 0, scheme: "toString" as "timm" }), /"toString" is not one of notes, timm, jax/);
  assert.throws(() => initialize(parameters, { seed: 0, scheme: "timm" })("heads.weight"), /"heads\.weight" is not a parameter/);
});

schemes.run();

const streams = suite("RandomStream");

streams("is xoshiro128**", () => {
  const stream = new RandomStream([1, 2, 3, 4]);
  // From the authors' C code, started from the same state.
  const expected = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849];
  assert.equal(expected.map(() => stream.uint32()), expected);
  assert.throws(() => new RandomStream([0, 0, 0, 0]), /four zeros/);
});

streams("draws uniform bits in each of 64 bins", () => {
  const stream = new RandomStream(randomState(3, "bins"));
  const bins = Array.from({ length: 64 }, () => 0);
  const draws = 200_000;
  for (let i = 0; i < draws; i++) {
    const value = stream.uniform();
    assert.ok(value >= 0 && value < 1);
    bins[Math.floor(value * 64)]!++;
  }
  const chiSquare = bins.reduce((sum, count) => sum + (count - draws / 64) ** 2 / (draws / 64), 0);
  // Mean 63 and variance 126: five deviations to either side.
  assert.ok(chiSquare > 63 - 5 * Math.sqrt(126) && chiSquare < 63 + 5 * Math.sqrt(126), `chi-square ${chiSquare}`);
});

streams("draws normals whose tails have the right weight, and whose pairs are independent", () => {
  const stream = new RandomStream(randomState(4, "normal"));
  const draws = 400_000;
  const values = Float64Array.from({ length: draws }, () => stream.normal());
  for (const [limit, share] of [[1, 0.31731], [2, 0.0455], [3, 0.0026998]] as const) {
    const found = values.filter((value) => Math.abs(value) > limit).length / draws;
    assert.ok(Math.abs(found - share) < 5 * Math.sqrt(share / draws), `${found} beyond ${limit} deviations, not ${share}`);
  }
  const correlation = values.reduce((sum, value, i) => sum + value * (values[i + 1] ?? 0), 0) / draws;
  assert.ok(Math.abs(correlation) < 5 / Math.sqrt(draws), `correlation ${correlation}`);
});

streams.run();

const files = suite("safetensors");
const folder = mkdtempSync(join(tmpdir(), "vitc-init-"));
files.after(() => rmSync(folder, { recursive: true }));

const sample: readonly NamedTensor[] = [
  { name: "2", shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, -0, Infinity) },
  { name: "1", shape: [], data: Float32Array.of(7) },
  { name: "größe \"x\"", shape: [0, 4], data: new Float32Array(0) },
  { name: "view", shape: [2], data: new Float32Array([9, 8, 7, 6]).subarray(1, 3) },
];

interface Parsed {
  readonly names: readonly string[];
  readonly metadata: unknown;
  readonly tensors: ReadonlyMap<string, { dtype: string; shape: number[]; data: Float32Array }>;
}

/** As the format is written down: a length in 8 bytes, JSON, then bytes without gaps. */
function parse(file: Uint8Array): Parsed {
  const headerBytes = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  assert.is(headerBytes % 8, 0);
  const text = new TextDecoder().decode(file.subarray(8, 8 + headerBytes));
  const { __metadata__: metadata, ...entries } = JSON.parse(text) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  const byOffset = Object.entries(entries).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]);
  let end = 0;
  const tensors = new Map(byOffset.map(([name, { dtype, shape, data_offsets: offsets }]) => {
    assert.is(offsets[0], end, `${name} begins where the last ended`);
    end = offsets[1];
    const body = new Uint8Array(file.subarray(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]));
    return [name, { dtype, shape, data: new Float32Array(body.buffer) }];
  }));
  assert.is(8 + headerBytes + end, file.length, "nothing follows the last tensor");
  const names = [...text.matchAll(/("(?:[^"\\]|\\.)*"):\{"dtype"/g)].map((match) => JSON.parse(match[1]!) as string);
  return { names, metadata, tensors };
}

function assertHolds(file: Uint8Array, expected: readonly NamedTensor[]): void {
  const parsed = parse(file);
  assert.equal(parsed.names, expected.map((tensor) => tensor.name));
  for (const { name, shape, data } of expected) {
    const found = parsed.tensors.get(name)!;
    assert.is(found.dtype, "F32");
    assert.equal(found.shape, shape);
    assert.ok(data.length === found.data.length && data.every((value, i) => Object.is(value, found.data[i])), name);
  }
}

files("in memory read back, in the order given", () => {
  const file = writeSafetensors(sample, { format: "pt" });
  assertHolds(file, sample);
  assert.equal(parse(file).metadata, { format: "pt" });
  assertHolds(writeSafetensors([]), []);
});

files("on disk equal those in memory, and hold a model", async () => {
  const path = join(folder, "sample.safetensors");
  await writeSafetensorsFile(path, sample, (name) => sample.find((tensor) => tensor.name === name)!.data, { metadata: { format: "pt" } });
  assert.ok(readFileSync(path).equals(writeSafetensors(sample, { format: "pt" })));

  const values = initialize(parameters, { seed: 3, scheme: "notes" });
  await writeSafetensorsFile(path, parameters, values);
  assertHolds(readFileSync(path), parameters.map(({ name, shape }) => ({ name, shape, data: values(name) })));
  assert.equal(readdirSync(folder), ["sample.safetensors"]);
});

files("that are aborted or fail leave nothing behind, and what was there stays", async () => {
  const path = join(folder, "kept.safetensors");
  writeFileSync(path, "the old weights");
  const outcome = async (produce: (name: string) => Float32Array, signal?: AbortSignal): Promise<unknown> =>
    writeSafetensorsFile(path, sample, produce, signal === undefined ? {} : { signal }).catch((error: unknown) => error);
  const before = readdirSync(folder);

  const controller = new AbortController();
  const produced: string[] = [];
  const aborted = await outcome((name) => {
    produced.push(name);
    if (produced.length === 2) controller.abort(new Error("stopped"));
    return sample[produced.length - 1]!.data;
  }, controller.signal);
  assert.match((aborted as Error).message, /stopped/);
  assert.is(produced.length, 2);

  const failed = await outcome(() => { throw new Error("no values"); });
  assert.match((failed as Error).message, /no values/);
  const short = await outcome(() => new Float32Array(5));
  assert.instance(short, CheckpointError);
  assert.match((short as Error).message, /"2" of shape \[2, 3\] takes 6 values, not 5/);

  assert.equal(readdirSync(folder), before);
  assert.is(readFileSync(path, "utf8"), "the old weights");
});

files("are refused with a reason", async () => {
  const value = Float32Array.of(1);
  assert.throws(() => writeSafetensors([{ name: "a", shape: [1], data: value }, { name: "a", shape: [1], data: value }]), /"a" is given twice/);
  assert.throws(() => writeSafetensors([{ name: "__metadata__", shape: [1], data: value }]), /keeps that name/);
  assert.throws(() => writeSafetensors([{ name: "a", shape: [-1], data: value }]), /shape \[-1\]: sizes must be whole/);
  assert.throws(() => writeSafetensors([{ name: "a", shape: [2], data: value }]), /takes 2 values, not 1/);
  const missing = join(folder, "absent", "a.safetensors");
  const outcome: unknown = await writeSafetensorsFile(missing, [], () => value).catch((error: unknown) => error);
  assert.instance(outcome, CheckpointError);
  assert.match((outcome as Error).message, /cannot write .*a\.safetensors: its folder does not exist/);
  assert.not.ok(existsSync(missing));
});

files.run();

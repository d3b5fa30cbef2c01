import { nearest, show, type SpecIssue } from "./errors.js";
import { stemMaps } from "./geometry.js";
import { isMap, optionalOutputs } from "./outputs.js";
import type { ResolvedSpec } from "./resolve.js";
import type { ViTSpec } from "./types.js";

/**
 * What fields must mean together. Each rule looks at the resolved spec (and at the spec as written, to see what was said and what is a
 * default) and returns its objections: field, value, what is allowed, the nearest fix.
 */
type Rule = (spec: ResolvedSpec, written: ViTSpec) => readonly SpecIssue[];

export function checkRules(spec: ResolvedSpec, written: ViTSpec): SpecIssue[] {
  return rules.flatMap((rule) => rule(spec, written));
}

const when = (broken: boolean, field: string, message: () => string): SpecIssue[] => (broken ? [{ field, message: message() }] : []);

const headsDivideDim: Rule = ({ heads, dim }, written) =>
  when(written.headDim === undefined && dim % heads !== 0, "heads", () => {
    const divisors = Array.from({ length: dim }, (_, i) => i + 1).filter((n) => dim % n === 0);
    const near = divisors.sort((a, b) => Math.abs(a - heads) - Math.abs(b - heads)).slice(0, 2).sort((a, b) => a - b);
    return `${heads} does not divide dim ${dim}; use ${near.join(" or ")} heads, or set headDim`;
  });

const patchFitsImage: Rule = ({ patch, geometry: { map }, stem }, written) => {
  const what = stem.length > 0 ? "the stem's output" : "the image";
  return [0, 1].flatMap((axis) => {
    const side = axis === 0 ? "height" : "width";
    const [p, size] = [patch[axis]!, map[axis + 1]!];
    if (p > size) return [{ field: "patch", message: `${p} is larger than ${what} (${side} ${size}); use at most ${size}` }];
    if (size % p === 0 || written.patchRemainder === "crop") return [];
    const [below, above] = [size - (size % p), size - (size % p) + p];
    const fix = stem.length > 0 ? `use a patch that divides it` : `use ${below} or ${above}`;
    return [{ field: stem.length > 0 ? "patch" : "image", message: `${side} ${size} of ${what} is not a multiple of patch ${p}; ${fix}, or set patchRemainder: "crop"` }];
  }).filter((issue, i, all) => all.findIndex((other) => other.message.replace("width", "height") === issue.message.replace("width", "height")) === i);
};

const poolNeedsItsToken: Rule = ({ pool, tokens, classes, representation, finalNorm, dim, mapPool }, written) => [
  ...when((pool === "token" || pool === "tokenavg") && !tokens.class, "pool", () => `"${pool}" needs a class token; set tokens.class: true, or pool: "avg" or "max"`),
  ...when(pool === "none" && classes > 0, "classes", () => `${classes} have no meaning with pool "none", which leaves no vector for a head; set classes: 0, or another pool`),
  ...when(pool === "none" && representation > 0, "representation", () => `${representation} has no meaning with pool "none"; leave it out, or set another pool`),
  ...when(pool === "none" && finalNorm === "pooled", "finalNorm", () => `"pooled" has no meaning with pool "none"; use "tokens" or "none"`),
  ...when(pool === "tokenavg" && finalNorm === "pooled", "finalNorm", () => `"pooled" has no meaning with pool "tokenavg", which pools two vectors; use "tokens" or "none"`),
  ...when(pool === "map" && finalNorm === "pooled", "finalNorm", () => `"pooled" has no meaning with pool "map", which has a norm of its own; use "tokens" or "none"`),
  ...when(pool === "map" && dim % mapPool.heads !== 0, "mapPool.heads", () => `${mapPool.heads} does not divide dim ${dim}; use a divisor of ${dim}`),
  ...when(written.mapPool !== undefined && pool !== "map", "mapPool", () => `it has a meaning for pool "map" only, it is "${pool}"; leave it out`),
  ...when(written.poolPrefix !== undefined && !["avg", "max", "avgmax", "map"].includes(pool), "poolPrefix", () => `${written.poolPrefix} has a meaning for pool "avg", "max", "avgmax" and "map" only, it is "${pool}"; leave it out`),
];

const blockParts: Rule = ({ block, attention, mlp, heads, headDim, rope, geometry, layerScale, dim }, written) => [
  ...when(block === "parallel" && (attention.norm || mlp.norm), "block", () => `"parallel" has no meaning with ${attention.norm ? "attention.norm" : "mlp.norm"}, which its fused projections leave no place for; leave that out`),
  ...when(block === "parallel" && attention.gate, "attention.gate", () => `true has no meaning with block "parallel"; leave it out`),
  ...when(block === "parallel" && mlp.gate !== "none", "mlp.gate", () => `"${mlp.gate}" has no meaning with block "parallel", whose input projection has one hidden layer; leave it out`),
  ...when(block === "parallel" && attention.qkvBias === "qv", "attention.qkvBias", () => `"qv" has no meaning with block "parallel"; use true or false`),
  ...when(block === "post" && layerScale !== undefined, "layerScale", () => `${layerScale} has no meaning with block "post", whose norms scale the branches; leave it out`),
  ...when(attention.differential && headDim % 2 !== 0, "attention.differential", () => `true needs an even width of a head, it is ${headDim}; use headDim ${headDim + 1}`),
  ...when(attention.differential && attention.relative, "attention.differential", () => `true has no meaning with attention.relative; keep one`),
  ...when(attention.differential && rope !== undefined, "attention.differential", () => `true has no meaning with rope; keep one`),
  ...when(attention.differential && (block === "parallelThings" || block === "post"), "attention.differential", () => `true has no meaning with block "${block}"; use "pre" or "parallel"`),
  ...when(rope !== undefined && headDim % 4 !== 0, "rope", () => `it turns pairs of rows and of columns, so a head's width must be a multiple of 4, it is ${headDim} (dim ${dim} in ${heads} heads); use headDim ${headDim - (headDim % 4) + 4}`),
  ...when(rope !== undefined && rope.kind !== "axial" && (["order", "reference", "offset"] as const).some((field) => written.rope?.[field] !== undefined), "rope", () => `order, reference and offset have a meaning for kind "axial" only, it is "${rope!.kind}"; leave them out`),
  ...when(attention.relative && geometry.prefix > 1, "attention.relative", () => `true has a table for at most one prefix token, there are ${geometry.prefix}; leave tokens.registers and tokens.distillation out`),
];

const distillationIsDeiT: Rule = ({ tokens, pool, representation, finalNorm }) =>
  !tokens.distillation
    ? []
    : [
        ...when(!tokens.class, "tokens.distillation", () => `true needs a class token beside it; set tokens.class: true`),
        ...when(pool !== "token", "tokens.distillation", () => `true has no meaning with pool "${pool}": its two heads read the class and the distillation token; set pool: "token"`),
        ...when(representation > 0, "representation", () => `${representation} has no meaning with tokens.distillation: its heads read the tokens directly; set representation: 0`),
        ...when(finalNorm === "pooled", "finalNorm", () => `"pooled" has no meaning with tokens.distillation, which pools two tokens; use "tokens" or "none"`),
      ];

const mlpWidth: Rule = ({ mlp, dim }, written) => [
  ...when(written.mlp?.ratio !== undefined && written.mlp.hidden !== undefined, "mlp", () => `ratio ${written.mlp?.ratio} and hidden ${written.mlp?.hidden} both set the hidden width; keep one`),
  ...when(mlp.hidden < 1, "mlp.ratio", () => `${written.mlp?.ratio} times dim ${dim} leaves a hidden width of ${mlp.hidden}; use at least ${Math.ceil(1e4 / dim) / 1e4}`),
];

const outputNamesFit: Rule = ({ outputNames, outputs, classes, pool, tokens }) => {
  const made = new Set([...outputs, pool === "none" ? "tokens" : classes > 0 || tokens.distillation ? (classes > 0 ? "logits" : "features") : "features"]);
  const given = Object.values(outputNames);
  const repeated = given.find((name, i) => given.indexOf(name) !== i || (made.has(name) && outputNames[name] === undefined));
  return [
    ...Object.keys(outputNames).flatMap((name) => when(!made.has(name), "outputNames", () => `${show(name)} is not an output of this model; they are ${[...made].join(", ")}`)),
    ...when(given.includes("input"), "outputNames", () => `"input" is the name of the model's input; use another`),
    ...when(repeated !== undefined, "outputNames", () => `${show(repeated)} would name two outputs; give each a name of its own`),
  ];
};

const positionTable: Rule = ({ position, dim, geometry: { grid } }, written) => [
  ...when(position.kind === "sincos2d" && dim % 4 !== 0, "position.kind", () => `"sincos2d" needs a dim that is a multiple of 4, dim is ${dim}; use ${dim > 4 ? `${dim - (dim % 4)} or ` : ""}${dim - (dim % 4) + 4}`),
  ...when(position.kind === "sincos1d" && dim % 2 !== 0, "position.kind", () => `"sincos1d" needs an even dim, dim is ${dim}; use ${dim + 1}`),
  ...when(written.position?.prefix !== undefined && position.kind !== "learned", "position.prefix", () => `${written.position?.prefix} has a meaning for learned positions only, position.kind is "${position.kind}"; leave it out`),
  ...when(written.position?.resample !== undefined && position.kind !== "learned", "position.resample", () => `it has a meaning for learned positions only, position.kind is "${position.kind}"; leave it out`),
  ...when(written.position?.resample?.antialias === true && written.position.resample.corners === true, "position.resample", () => `antialias and corners have no meaning together; use one`),
  ...when(position.resample !== undefined && Math.min(...grid) + position.resample.offset <= 0, "position.resample.offset", () => `${position.resample?.offset} is added to the sides of the model's grid of ${grid.join(" x ")} patches, and leaves nothing of one; use more than ${-Math.min(...grid)}`),
  ...when(written.position?.temperature !== undefined && !position.kind.startsWith("sincos"), "position.temperature", () => `${written.position?.temperature} has a meaning for sincos positions only, position.kind is "${position.kind}"; leave it out`),
];

/** Steps of resampling that have nothing to work on, and patches whose resize would be a matrix of many megabytes. */
const resampling: Rule = ({ attention, patch, patchResample }, written) => [
  ...when(written.attention?.relativeResample !== undefined && !attention.relative, "attention.relativeResample", () => `it has a meaning with attention.relative: true only; leave it out`),
  ...when(patchResample !== undefined && Math.max(...patch, ...patchResample.from) > largestResampledPatch, "patchResample", () => `from ${patchResample!.from.join(" x ")} to ${patch.join(" x ")}: a patch embedding is resampled up to ${largestResampledPatch} pixels a side; use smaller patches`),
];

const largestResampledPatch = 512;

const labelsMatchClasses: Rule = ({ labels, classes }) =>
  when(labels.length > 0 && labels.length !== classes, "labels", () => `${labels.length} names for ${classes} classes; give one a class`);

const oneCropSize: Rule = (_, { preprocess }) =>
  when(preprocess?.resize !== undefined && preprocess.cropPct !== undefined, "preprocess.cropPct", () => `${preprocess?.cropPct} has no meaning beside preprocess.resize, which says the size before the crop; keep one`);

const preprocessChannels: Rule = ({ preprocess, channels }) =>
  (["mean", "std"] as const).flatMap((field) => when(preprocess[field].length !== channels, `preprocess.${field}`, () => `${preprocess[field].length} values for ${channels} channels; give one number, or one a channel`));

const outputsExist: Rule = ({ outputs, depth, block, finalNorm, pool, tokens, classes }) => {
  const known = new Set(optionalOutputs({ depth, block }));
  return outputs.flatMap((name) => {
    if (!known.has(name)) {
      if (name === "logits") return [{ field: "outputs", message: classes > 0 ? `"logits" is returned anyhow; leave it out` : `"logits" exists only with classes above 0` }];
      // All blocks but the one of that number are as near as each other.
      const meant = `blocks.${Math.min(Number(/\d+/.exec(name)?.[0] ?? 0), depth - 1)}`;
      const near = nearest(name, [...optionalOutputs({ depth: 0, block }), "blocks.*", "blocks.*.attn", meant, `${meant}.attn`]);
      const beyond = /^blocks\.\d+(\.attn)?$/.test(name);
      const things = /^blocks\.(\d+)\.attns\.\d+\.attn$/.exec(name);
      const fix = things && block !== "parallelThings" && Number(things[1]) < depth ? `each of its blocks has one attention: ask for "${meant}.attn"` : beyond ? `the last block is blocks.${depth - 1}` : near ? `did you mean "${near}"?` : `the names are embed, blocks.0 to blocks.${depth - 1}, blocks.*, blocks.0.attn to blocks.${depth - 1}.attn, blocks.*.attn, norm, tokens, features, logits_cls, logits_dist, embedding`;
      return [{ field: "outputs", message: `${show(name)} is not an output of this model; ${fix}` }];
    }
    return [
      ...when(name.startsWith("logits_") && !tokens.distillation, "outputs", () => `"${name}" exists only with tokens.distillation: true`),
      ...when((name === "features" || name === "embedding") && pool === "none", "outputs", () => `"${name}" has no meaning with pool "none"; ask for "tokens"`),
      ...when(name === "norm" && finalNorm !== "tokens", "outputs", () => `"norm" exists only with finalNorm: "tokens", it is "${finalNorm}"; ask for "blocks.${depth - 1}"`),
    ];
  });
};

const batchAscends: Rule = ({ batch }) =>
  when(batch.some((n, i) => i > 0 && n <= batch[i - 1]!), "batch", () => `${show(batch)} must ascend without repeats; write ${show([...new Set(batch)].sort((a, b) => a - b))}`);

const dtypesDiffer: Rule = ({ dtype }) => when(new Set(dtype).size !== dtype.length, "dtype", () => `${show(dtype)} names one twice; write ${show([...new Set(dtype)])}`);

/** Weights above this many bytes are taken for a slip: the largest published ViT has 22 billion parameters. */
const largestWeights = 256 * 2 ** 30;

/** What a matrix may have at most; larger ones than a binding are split by columns. */
const largestMatrix = 2 ** 31;

/** What a binding holds on every adapter. Batches are cut into chunks that fit, single images are not. */
const largestBinding = 128 * 2 ** 20;

/** Columns are packed in eights, and fewer of a matrix cannot be bound: so long may one of them be. */
const longestColumn = largestBinding / 4 / 8;

/** Rows or columns of the largest matrix that one launch covers: 65535 workgroups of 64. */
const largestSide = 65535 * 64;

const sizesAreSane: Rule = ({ image, channels, stem, dim, depth, heads, headDim, mlp, representation, classes, geometry, patch, outputs }) => {
  const inner = heads * headDim;
  const { map, tokens, features } = geometry;
  // Of a gated MLP the first layer is two.
  const hidden = (mlp.gate === "none" ? 1 : 2) * mlp.hidden;
  const maps = stemMaps([channels, ...image], stem);
  const weights = [
    ...stem.map(({ channels: out, kernel }, i) => ({ field: "stem", what: `the weight of layer ${i}`, bytes: 4 * out * maps[i]![0] * kernel ** 2 })),
    { field: "patch", what: "the weight of the patch embedding", bytes: 4 * map[0] * patch[0] * patch[1] * dim },
    { field: "dim", what: "the position table", bytes: 4 * tokens * dim },
    { field: "heads", what: "the weight of the projection to q, k, v", bytes: 4 * 3 * inner * dim },
    { field: "mlp", what: "the weight of the MLP", bytes: 4 * hidden * dim },
    { field: "representation", what: "its weight", bytes: 4 * representation * dim },
    { field: "classes", what: "the weight of the head", bytes: 4 * classes * features },
  ];
  const activations = [
    ...maps.map(([c, h, w], i) => ({ what: i === 0 ? `of ${channels} x ${image.join(" x ")}` : `of ${c} x ${h} x ${w} behind layer ${i - 1} of the stem`, bytes: 4 * c * h * w })),
    { what: `of ${tokens} tokens`, bytes: 4 * tokens * Math.max(3 * inner, hidden, dim) },
    { what: `of ${classes} classes`, bytes: 4 * classes },
  ];
  const total = 4 * depth * (4 * dim * inner + dim * (hidden + mlp.hidden)) + weights.reduce((sum, { bytes }) => sum + bytes, 0);
  const windows = [
    ...stem.map(({ kernel }, i) => ({ field: "stem", what: `a window of layer ${i}`, values: maps[i]![0] * kernel ** 2 })),
    { field: "patch", what: "a patch", values: map[0] * patch[0] * patch[1] },
  ];
  const rows = maps.slice(1).reduce((most, [, h, w]) => Math.max(most, h * w), tokens);
  const columns = Math.max(3 * inner, hidden);
  const mapBytes = 4 * heads * tokens ** 2;
  return [
    ...when(total > largestWeights, "spec", () => `about ${gib(total)} GiB of weights (dim ${dim}, depth ${depth}, mlp.hidden ${mlp.hidden}, ${classes} classes); the limit is ${gib(largestWeights)} GiB`),
    ...weights.flatMap(({ field, what, bytes }) => when(bytes > largestMatrix, field, () => `${what} has ${gib(bytes)} GiB; a matrix ends at 2 GiB, use smaller sizes`)),
    ...windows.flatMap(({ field, what, values }) => when(values > longestColumn, field, () => `${what} has ${values} values; a product takes ${longestColumn}, use a smaller one`)),
    ...when(tokens > 2 ** 20, "patch", () => `${patch.join(" x ")} makes ${tokens} tokens; attention compares each with each, use a larger patch (at most ${2 ** 20} tokens)`),
    ...activations
      .filter(({ bytes }) => bytes > largestBinding)
      .slice(0, 1)
      .flatMap(({ what, bytes }) => when(true, "image", () => `one image ${what} needs ${inBytes(bytes)}; WebGPU bindings hold ${inBytes(largestBinding)}, use a smaller image or width, or a larger patch`)),
    ...when(outputs.some(isMap) && mapBytes > largestBinding, "outputs", () => `an attention map of ${heads} heads of ${tokens} tokens needs ${inBytes(mapBytes)}; WebGPU bindings hold ${inBytes(largestBinding)}, leave maps out, or use a smaller image or a larger patch`),
    ...when(rows > largestSide, "image", () => `one image makes a matrix of ${rows} rows; a launch covers ${largestSide}, use a smaller image`),
    ...when(columns > largestSide, "heads", () => `${heads} of width ${headDim} make a matrix of ${columns} columns; a launch covers ${largestSide}, use fewer or narrower heads`),
  ];
};

/** A size in MiB, from a GiB on in GiB. */
const inBytes = (bytes: number): string => (bytes < 2 ** 30 ? `${digits(bytes / 2 ** 20)} MiB` : `${digits(bytes / 2 ** 30)} GiB`);

/** Three digits, or all of those before the point. */
const digits = (value: number): string => (value < 100 ? value.toPrecision(3) : String(Math.round(value)));

const gib = (bytes: number): string => digits(bytes / 2 ** 30);

const rules: readonly Rule[] = [
  headsDivideDim, patchFitsImage, poolNeedsItsToken, blockParts, distillationIsDeiT, outputNamesFit, mlpWidth, positionTable, resampling,
  labelsMatchClasses, oneCropSize, preprocessChannels, outputsExist, batchAscends, dtypesDiffer, sizesAreSane,
];

import { isMap } from "../spec/outputs.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import { by, count, plural } from "./format.js";

/** What a spec declares, in a few words each: what every Vision Transformer has is said of all, the rest where it is there. */

/** The tokens in front of the patches, by kind. */
export function prefixWords({ tokens }: ResolvedSpec): readonly string[] {
  const { class: classToken, distillation, registers } = tokens;
  return [...(classToken ? ["1 class"] : []), ...(distillation ? ["1 distillation"] : []), ...(registers > 0 ? [plural(registers, "register")] : [])];
}

/** How tokens know their places: what is added to them, and what queries and keys are turned by. */
export function positionWords(spec: ResolvedSpec): readonly string[] {
  const added = { learned: "learned positions", sincos2d: "2-D sine positions", sincos1d: "1-D sine positions", none: "" }[spec.position.kind];
  const words = [...(added === "" ? [] : [added]), ...rotaryWords(spec), ...(spec.attention.relative ? ["learned biases by distance"] : [])];
  return words.length > 0 ? words : ["no positions"];
}

function rotaryWords({ rope, geometry }: ResolvedSpec): readonly string[] {
  if (!rope) return [];
  const { kind, temperature, order, reference, offset } = rope;
  const details = [
    kind === "mixed" ? "mixed, learned by each block" : kind,
    `temperature ${count(temperature)}`,
    ...(order === "xy" ? ["columns first"] : []),
    ...(by(reference) === by(geometry.grid) ? [] : [`as on a grid of ${by(reference)}`]),
    ...(offset === 0 ? [] : [`counted from ${offset}`]),
  ];
  return [`rotary positions (${details.join(", ")})`];
}

/** How a block joins its parts, where it is not as in the paper. */
export function blockWords({ block }: ResolvedSpec): readonly string[] {
  switch (block) {
    case "pre":
      return [];
    case "post":
      return ["norms behind attention and MLP"];
    case "parallel":
      return ["attention and MLP side by side, of one norm"];
    case "parallelThings":
      return ["two attentions side by side, then two MLPs"];
    default:
      return block satisfies never;
  }
}

/** What the attention has besides heads. */
export function attentionWords({ attention }: ResolvedSpec): readonly string[] {
  const { qkvBias, projBias, qkNorm, norm, gate, differential } = attention;
  return [
    ...(differential ? ["the difference of two maps"] : []),
    ...(qkNorm ? ["norms of queries and keys"] : []),
    ...(norm ? ["a norm of its heads"] : []),
    ...(gate ? ["a gate"] : []),
    ...(qkvBias === "qv" ? ["keys without bias"] : qkvBias ? [] : ["no bias of qkv"]),
    ...(projBias ? [] : ["projection without bias"]),
  ];
}

/** What the MLP has besides its width and activation. */
export function mlpWords({ mlp }: ResolvedSpec): readonly string[] {
  const gates = { none: [], split: ["gated by a layer of its own"], packed: ["gated, the gate first"], packedLast: ["gated, the gate last"] }[mlp.gate];
  return [...gates, ...(mlp.norm ? ["a norm before its second layer"] : []), ...(mlp.bias ? [] : ["without bias"])];
}

/** What stands beside the norms of the blocks, and what kind they are. */
export function normWords({ norm, patchNorm, preNorm, finalNorm, layerScale }: ResolvedSpec): readonly string[] {
  return [
    ...(norm.kind === "rms" ? ["RMS norms"] : []),
    ...(patchNorm ? ["a norm of the patches"] : []),
    ...(preNorm ? ["a norm before the first block"] : []),
    ...{ tokens: [], pooled: ["the last norm behind pooling"], none: ["no last norm"] }[finalNorm],
    ...(layerScale === undefined ? [] : [`LayerScale from ${layerScale}`]),
  ];
}

/** How tokens become one vector. */
export function poolWords({ tokens, pool, poolPrefix, mapPool }: ResolvedSpec): string {
  if (tokens.distillation) return "mean of class and distillation head";
  const pooled = poolPrefix ? "all tokens" : "patches";
  switch (pool) {
    case "token":
      return "class token";
    case "avg":
      return `mean of ${pooled}`;
    case "max":
      return `maximum of ${pooled}`;
    case "avgmax":
      return `mean and maximum of ${pooled}, averaged`;
    case "tokenavg":
      return "class token beside the mean of patches";
    case "map":
      return `a learned query's attention to ${pooled} (${plural(mapPool.heads, "head")}, MLP of ${count(mapPool.hidden)})`;
    case "none":
      return "all tokens, nothing is pooled";
    default:
      return pool satisfies never;
  }
}

/** What the model returns of an image. */
export function resultWords({ pool, classes, headBias, geometry, dim }: ResolvedSpec): string {
  if (pool === "none") return `${count(geometry.tokens)} of width ${count(dim)}`;
  return classes > 0 ? `${plural(classes, "class")}${headBias ? "" : " without bias"}` : plural(geometry.features, "feature");
}

/** Outputs that are computed for themselves alone, and those that have another name in the package. */
export function outputWords({ outputs, outputNames, depth, block }: ResolvedSpec): readonly string[] {
  const maps = outputs.filter(isMap).length;
  const all = depth * (block === "parallelThings" ? 2 : 1);
  return [
    ...(maps === 0 ? [] : [maps === all ? "attention maps of all blocks" : plural(maps, "attention map")]),
    ...(outputs.includes("embedding") ? ["an embedding of length 1"] : []),
    ...Object.entries(outputNames).map(([name, given]) => `${name} as ${given}`),
  ];
}

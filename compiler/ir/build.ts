import type { ResolvedSpec } from "../spec/resolve.js";
import { encoderBlock } from "./build-block.js";
import { features } from "./build-head.js";
import type { Graph, Value } from "./graph.js";
import { ModelBuilder } from "./model-builder.js";

/** What the graph is built for. In `training` a distilled model returns both logits and no mean, as the notes' model does. */
export interface BuildOptions {
  readonly batch: number;
  readonly mode?: "inference" | "training";
}

/** Name of the main output: logits, or features of a model without a head, or tokens of one that pools nothing. */
export const mainOutput = ({ classes, pool }: ResolvedSpec): "logits" | "features" | "tokens" => (classes > 0 ? "logits" : pool === "none" ? "tokens" : "features");

/** Whether a model's main output are the logits of classes. By another name and without labels they are none, but what a projection makes of features. */
export const classifies = ({ classes, labels, outputNames }: ResolvedSpec): boolean => classes > 0 && ((outputNames["logits"] ?? "logits") === "logits" || labels.length > 0);

/**
 * The Vision Transformer of a spec as a graph of primitive ops, in the words of the paper and timm (arXiv 2010.11929; timm
 * `VisionTransformer.forward`). Parameters have timm's names. B = batch, N = tokens, D = dim in the shapes at the line ends.
 */
export function buildGraph(spec: ResolvedSpec, { batch, mode = "inference" }: BuildOptions): Graph {
  const g = new ModelBuilder(spec, batch);
  const { mean, std, normalize } = spec.preprocess;
  let image = g.input("input", [batch, spec.channels, ...spec.image]);
  if (normalize === "inside") image = g.node("normalizeChannels", { mean, std }, [image], "normalize");
  let x = embedding(g, image); //                                                         [B, N, D]
  if (spec.preNorm) x = g.norm(x, "norm_pre");
  g.tap("embed", x);
  for (let i = 0; i < spec.depth; i++) x = g.tap(`blocks.${i}`, encoderBlock(g, x, i)); // [B, N, D]
  if (spec.finalNorm === "tokens") x = g.tap("norm", g.norm(x, "norm")); //               [B, N, D]
  g.tap("tokens", x);
  if (spec.pool === "none") {
    if (!g.asks("tokens")) g.returns("tokens", x);
  } else if (spec.tokens.distillation) distilledHeads(g, x, mode);
  else {
    const pooled = g.tap("features", features(g, x)); //                                  [B, features]
    const logits = spec.classes > 0 ? g.linear(pooled, "head", spec.classes, spec.headBias) : pooled; // [B, classes]
    if (spec.classes > 0) g.returns("logits", logits);
    else if (!g.asks("features")) g.returns("features", pooled);
    unitLength(g, classifies(spec) ? pooled : logits);
  }
  return g.build();
}

/** The output `embedding`, if it is asked for. */
function unitLength(g: ModelBuilder, vector: Value): void {
  if (g.asks("embedding")) g.returns("embedding", g.node("l2Normalize", {}, [vector], "embedding"));
}

/** Image -> stem -> patches -> tokens with positions: timm's `patch_embed` and `_pos_embed`. */
function embedding(g: ModelBuilder, image: Value): Value {
  const { spec } = g;
  let map = image;
  spec.stem.forEach(({ channels, kernel, stride }, i) => {
    // As torch.nn.Sequential numbers them: convolution 3i, batch norm 3i + 1, ReLU 3i + 2.
    const [conv, norm] = [`patch_embed.backbone.${3 * i}`, `patch_embed.backbone.${3 * i + 1}`];
    const half = Math.floor(kernel / 2);
    const weight = g.parameter(`${conv}.weight`, [channels, map.shape[1]!, kernel, kernel]);
    map = g.node("conv2d", { stride: [stride, stride], padding: [half, half] }, [map, weight], conv);
    const statistics = ["weight", "bias", "running_mean", "running_var"].map((name) => g.parameter(`${norm}.${name}`, [channels]));
    map = g.node("batchNorm", { eps: 1e-5 }, [map, ...statistics], norm);
    map = g.node("activation", { kind: "relu" }, [map], `patch_embed.backbone.${3 * i + 2}`);
  });
  const projection = "patch_embed.proj";
  const weight = patchWeight(g, `${projection}.weight`);
  const bias = spec.patchBias ? [g.parameter(`${projection}.bias`, [spec.dim])] : [];
  map = g.node("conv2d", { stride: spec.patch, padding: [0, 0] }, [map, weight, ...bias], projection);
  let x = g.node("mapToTokens", {}, [map], projection);
  if (spec.patchNorm) x = g.norm(x, "patch_embed.norm");
  return g.dropout(withPrefixAndPositions(g, x), spec.dropout.position, "pos_drop");
}

/** The patch embedding's weight [D, channels, height, width]: for the model's patch, if the weight file has it for another. */
function patchWeight(g: ModelBuilder, name: string): Value {
  const { dim, patch, patchResample, geometry: { map: [channels] } } = g.spec;
  const weight = g.parameter(name, [dim, channels, ...(patchResample?.from ?? patch)]);
  return patchResample ? g.node("resamplePatch", { to: patch, ...patchResample }, [weight], `${name}.resampled`) : weight;
}

function withPrefixAndPositions(g: ModelBuilder, patches: Value): Value {
  const { spec, geometry, batch } = g;
  const { kind, prefix: prefixRows, temperature } = spec.position;
  const { class: classToken, distillation, registers } = spec.tokens;
  const kinds = [["cls_token", Number(classToken)], ["dist_token", Number(distillation)], ["reg_token", registers]] as const;
  const prefix = kinds.filter(([, count]) => count > 0).map(([name, count]) => g.node("expand", { batch }, [g.parameter(name, [1, count, spec.dim])], name));
  const join = (x: Value) => (prefix.length > 0 ? g.node("concat", { axis: 1 }, [...prefix, x], "embed") : x);
  const place = (x: Value, table: Value) => g.node("add", {}, [x, table], "pos_embed");
  switch (kind) {
    case "none":
      return join(patches);
    case "learned":
      return prefixRows ? place(join(patches), learnedPositions(g, geometry.prefix)) : join(place(patches, learnedPositions(g, 0)));
    case "sincos1d":
    case "sincos2d":
      return place(join(patches), g.node("positionTable", { kind, grid: geometry.grid, dim: spec.dim, prefix: geometry.prefix, temperature }, [], "pos_embed"));
    default:
      return kind satisfies never;
  }
}

/** The learned table, with rows for so many prefix tokens: for the model's grid, if the weight file has it for another. */
function learnedPositions(g: ModelBuilder, prefix: number): Value {
  const { dim, position: { resample }, geometry: { grid } } = g.spec;
  const from = resample?.from ?? grid;
  const table = g.parameter("pos_embed", [1, prefix + from[0] * from[1], dim]);
  return resample ? g.node("resampleTable", { prefix, to: grid, ...resample }, [table], "pos_embed.resampled") : table;
}

/** DeiT's two heads, on the class and the distillation token. At inference the result is their mean. */
function distilledHeads(g: ModelBuilder, x: Value, mode: "inference" | "training"): void {
  const { spec } = g;
  const head = (index: number, name: string) => {
    const token = g.node("token", { index }, [x], `${name}.token`);
    return { token, y: spec.classes > 0 ? g.linear(token, name, spec.classes, spec.headBias) : token };
  };
  const [cls, dist] = [head(0, "head"), head(1, "head_dist")];
  if (mode === "training") {
    g.returns("logits_cls", cls.y);
    g.returns("logits_dist", dist.y);
    return;
  }
  g.tap("logits_cls", cls.y);
  g.tap("logits_dist", dist.y);
  const mean = (a: Value, b: Value, name: string): Value => g.node("scale", { factor: 0.5 }, [g.node("add", {}, [a, b], `${name}.add`)], `${name}.mean`);
  const main = mean(cls.y, dist.y, "head");
  g.returns(mainOutput(spec), main);
  // Of a model with heads, what timm's forward_head(pre_logits=True) returns.
  const wanted = g.asks("features") || (g.asks("embedding") && classifies(spec));
  const pooled = spec.classes > 0 && wanted ? g.tap("features", mean(cls.token, dist.token, "features")) : main;
  unitLength(g, classifies(spec) ? pooled : main);
}

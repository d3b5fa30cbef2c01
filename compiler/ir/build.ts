import type { Geometry, ResolvedSpec } from "../spec/resolve.js";
import { GraphBuilder, type Graph, type Value } from "./graph.js";

/** What the graph is built for. In `training` a distilled model returns both logits and no mean, as the notes' model does. */
export interface BuildOptions {
  readonly batch: number;
  readonly mode?: "inference" | "training";
}

/** Name of the main output: logits, or features of a model without a head. */
export const mainOutput = (spec: ResolvedSpec): "logits" | "features" => (spec.classes > 0 ? "logits" : "features");

/**
 * The Vision Transformer of a spec as a graph of primitive ops, in the words of the paper and timm (arXiv 2010.11929; timm
 * `VisionTransformer.forward`). Parameters have timm's names. B = batch, N = tokens, D = dim in the shapes at the line ends.
 */
export function buildGraph(spec: ResolvedSpec, { batch, mode = "inference" }: BuildOptions): Graph {
  const g = new ModelBuilder(spec, batch);
  const wanted = new Set(spec.outputs);
  const tap = (name: string, value: Value) => {
    if (wanted.has(name)) g.output(name, value);
    return value;
  };

  const { mean, std, normalize } = spec.preprocess;
  let image = g.input("input", [batch, spec.channels, ...spec.image]);
  if (normalize === "inside") image = g.node("normalizeChannels", { mean, std }, [image], "normalize");
  let x = tap("embed", embedding(g, image)); //                                         [B, N, D]
  for (let i = 0; i < spec.depth; i++) x = tap(`blocks.${i}`, encoderBlock(g, x, i)); // [B, N, D]
  if (spec.finalNorm === "tokens") x = tap("norm", g.norm(x, "norm")); //               [B, N, D]
  if (spec.tokens.distillation) distilledHeads(g, x, tap, mode);
  else {
    const features = tap("features", featuresOf(g, x)); //                              [B, features]
    if (spec.classes > 0) g.output("logits", g.linear(features, "head", spec.classes)); // [B, classes]
    else if (!wanted.has("features")) g.output("features", features);
  }
  return g.build();
}

/** Image -> stem -> patches -> tokens with positions: timm's `patch_embed` and `_pos_embed`. */
function embedding(g: ModelBuilder, image: Value): Value {
  const { spec, geometry } = g;
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
  const weight = g.parameter(`${projection}.weight`, [spec.dim, geometry.map[0], ...spec.patch]);
  const bias = spec.patchBias ? [g.parameter(`${projection}.bias`, [spec.dim])] : [];
  map = g.node("conv2d", { stride: spec.patch, padding: [0, 0] }, [map, weight, ...bias], projection);
  let x = g.node("mapToTokens", {}, [map], projection);
  if (spec.patchNorm) x = g.norm(x, "patch_embed.norm");
  return g.dropout(withPrefixAndPositions(g, x), spec.dropout.position, "pos_drop");
}

function withPrefixAndPositions(g: ModelBuilder, patches: Value): Value {
  const { spec, geometry, batch } = g;
  const { kind, prefix: prefixRows, temperature } = spec.position;
  const names = [...(spec.tokens.class ? ["cls_token"] : []), ...(spec.tokens.distillation ? ["dist_token"] : [])];
  const prefix = names.map((name) => g.node("expand", { batch }, [g.parameter(name, [1, 1, spec.dim])], name));
  const join = (x: Value) => (prefix.length > 0 ? g.node("concat", { axis: 1 }, [...prefix, x], "embed") : x);
  const place = (x: Value, table: Value) => g.node("add", {}, [x, table], "pos_embed");
  switch (kind) {
    case "none":
      return join(patches);
    case "learned":
      return prefixRows ? place(join(patches), g.parameter("pos_embed", [1, geometry.tokens, spec.dim])) : join(place(patches, g.parameter("pos_embed", [1, geometry.patches, spec.dim])));
    case "sincos1d":
    case "sincos2d":
      return place(join(patches), g.node("positionTable", { kind, grid: geometry.grid, dim: spec.dim, prefix: geometry.prefix, temperature }, [], "pos_embed"));
    default:
      return kind satisfies never;
  }
}

/** x + path(ls1(attention(norm1 x))), then x + path(ls2(mlp(norm2 x))): timm's `Block`, and the notes', which has no LayerScale. */
function encoderBlock(g: ModelBuilder, x: Value, i: number): Value {
  const { spec } = g;
  const name = `blocks.${i}`;
  // DropPath rates rise linearly from 0 in the first block to the spec's in the last: torch.linspace(0, rate, depth).
  const rate = spec.depth > 1 ? (spec.dropout.path * i) / (spec.depth - 1) : 0;
  const residual = (branch: Value, where: string) => g.node("add", {}, [x, g.dropPath(g.layerScale(branch, `${name}.ls${where}`), rate, `${name}.drop_path${where}`)], `${name}.add${where}`);
  x = residual(attention(g, g.norm(x, `${name}.norm1`), `${name}.attn`), "1"); // [B, N, D]
  return residual(mlp(g, g.norm(x, `${name}.norm2`), `${name}.mlp`), "2"); //     [B, N, D]
}

function attention(g: ModelBuilder, x: Value, name: string): Value {
  const { heads, headDim, dim, attention, dropout } = g.spec;
  const qkv = g.linear(x, `${name}.qkv`, 3 * heads * headDim, attention.qkvBias); //              [B, N, 3 heads headDim]
  const part = (part: 0 | 1 | 2) => g.node("splitHeads", { heads, part }, [qkv], `${name}.${"qkv"[part]}`);
  const q = g.node("scale", { factor: attention.scale }, [part(0)], `${name}.scale`); //          [B, heads, N, headDim]
  const scores = g.node("matmul", { transposeB: true }, [q, part(1)], `${name}.scores`); //       [B, heads, N, N]
  const weights = g.dropout(g.node("softmax", {}, [scores], `${name}.softmax`), dropout.attention, `${name}.attn_drop`);
  const mixed = g.node("matmul", { transposeB: false }, [weights, part(2)], `${name}.mix`); //    [B, heads, N, headDim]
  const merged = g.node("mergeHeads", {}, [mixed], `${name}.merge`); //                           [B, N, heads headDim]
  return g.dropout(g.linear(merged, `${name}.proj`, dim, attention.projBias), dropout.projection, `${name}.proj_drop`);
}

function mlp(g: ModelBuilder, x: Value, name: string): Value {
  const { mlp, dim, dropout } = g.spec;
  const hidden = g.node("activation", { kind: mlp.activation }, [g.linear(x, `${name}.fc1`, mlp.hidden, mlp.bias)], `${name}.act`); // [B, N, hidden]
  const dropped = g.dropout(hidden, dropout.projection, `${name}.drop1`);
  return g.dropout(g.linear(dropped, `${name}.fc2`, dim, mlp.bias), dropout.projection, `${name}.drop2`); //                            [B, N, D]
}

/** Tokens -> one vector an image, with the last norm if it stands there, and the representation layer. */
function featuresOf(g: ModelBuilder, x: Value): Value {
  const { spec, geometry } = g;
  let y: Value;
  if (spec.pool === "token") y = g.node("token", { index: 0 }, [x], "pool");
  else {
    const patches = geometry.prefix > 0 ? g.node("sliceTokens", { start: geometry.prefix, end: geometry.tokens }, [x], "pool") : x;
    y = g.node("reduce", { kind: spec.pool }, [patches], "pool");
  }
  if (spec.finalNorm === "pooled") y = g.norm(y, "fc_norm");
  if (spec.representation === 0) return y;
  return g.node("activation", { kind: "tanh" }, [g.linear(y, "pre_logits.fc", spec.representation)], "pre_logits.act");
}

/** DeiT's two heads, on the class and the distillation token. At inference the result is their mean. */
function distilledHeads(g: ModelBuilder, x: Value, tap: (name: string, value: Value) => Value, mode: "inference" | "training"): void {
  const { spec } = g;
  const head = (index: number, name: string) => {
    const y = g.node("token", { index }, [x], `${name}.token`);
    return spec.classes > 0 ? g.linear(y, name, spec.classes) : y;
  };
  const heads = [head(0, "head"), head(1, "head_dist")] as const;
  if (mode === "training") {
    g.output("logits_cls", heads[0]);
    g.output("logits_dist", heads[1]);
    return;
  }
  tap("logits_cls", heads[0]);
  tap("logits_dist", heads[1]);
  g.output(mainOutput(spec), g.node("scale", { factor: 0.5 }, [g.node("add", {}, heads, "head.add")], "head.mean"));
}

/** GraphBuilder with the layers that a Vision Transformer repeats. */
class ModelBuilder extends GraphBuilder {
  readonly geometry: Geometry;

  constructor(
    readonly spec: ResolvedSpec,
    readonly batch: number,
  ) {
    super(spec.name);
    this.geometry = spec.geometry;
  }

  linear(x: Value, name: string, out: number, bias = true): Value {
    const weight = this.parameter(`${name}.weight`, [out, x.shape[x.shape.length - 1]!]);
    return this.node("linear", {}, bias ? [x, weight, this.parameter(`${name}.bias`, [out])] : [x, weight], name);
  }

  norm(x: Value, name: string): Value {
    const width = [x.shape[x.shape.length - 1]!];
    return this.node("layerNorm", { eps: this.spec.norm.eps }, [x, this.parameter(`${name}.weight`, width), this.parameter(`${name}.bias`, width)], name);
  }

  dropout(x: Value, rate: number, name: string): Value {
    return rate > 0 ? this.node("dropout", { rate }, [x], name) : x;
  }

  /** The branch's own factor for each channel, where the spec has them. */
  layerScale(x: Value, name: string): Value {
    return this.spec.layerScale === undefined ? x : this.node("scaleLast", {}, [x, this.parameter(`${name}.gamma`, [this.spec.dim])], name);
  }

  dropPath(x: Value, rate: number, name: string): Value {
    return rate > 0 ? this.node("dropPath", { rate }, [x], name) : x;
  }
}

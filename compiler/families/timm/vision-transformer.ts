import type { VisionTransformerArguments } from "./arguments.js";
import { activationOf, dropoutOf, filled, hiddenOf, imageAndPatch, normField, normOf, poolOf, refuse, type ModelSpec } from "./words.js";

const blocks = { Block: undefined, ResPostBlock: "post", ParallelScalingBlock: "parallel", DiffParallelScalingBlock: "parallel", ParallelThingsBlock: "parallelThings" } as const;
const gates = { Mlp: undefined, SwiGLU: "split", SwiGLUPacked: "packed", GluMlp: "packedLast" } as const;

/**
 * timm's `VisionTransformer`, or `VisionTransformerDistilled`, of these arguments.
 * @throws SpecError for what timm can build and a spec cannot say.
 */
export function visionTransformer(args: VisionTransformerArguments, distilled: boolean): ModelSpec {
  const { embed_dim: dim, num_heads: heads, num_classes: classes } = args;
  if (args.use_naflex) refuse("use_naflex", "true builds a model of images of any size, which is not supported; leave it out");
  if (args.global_pool === "prr") refuse("global_pool", `"prr" is not supported; use "token", "avg", "max", "avgmax" or "map"`);
  if (distilled) checkDistilled(args);
  const norm = normOf(args.norm_layer, "norm_layer");
  const pool = poolOf(args.global_pool, classes);
  const block = blocks[args.block_fn];
  // The projections of a parallel block are its own, whatever the layers.
  const parallel = block === "parallel";
  const gate = parallel ? undefined : gates[args.mlp_layer];
  const width = hiddenOf(dim, args.mlp_ratio);
  const packed = gate === "packed" || gate === "packedLast";
  if (packed && width % 2 !== 0) refuse("mlp_ratio", `${args.mlp_ratio} makes ${args.mlp_layer} ${width} wide, which are two halves; use one that makes it even`);
  const hidden = packed ? width / 2 : width;
  const activation = activationOf(args.act_layer);
  const differential = args.block_fn === "DiffParallelScalingBlock" || (!parallel && args.attn_layer === "diff");
  // Without one, a factor is no LayerScale; the parallel block alone takes a factor of 0 for one.
  const layerScale = block === "post" ? undefined : parallel ? (args.init_values ?? undefined) : args.init_values || undefined;
  const prefixed = distilled || args.class_token || args.reg_tokens > 0;
  return {
    ...imageAndPatch(args),
    ...filled({
      channels: args.in_chans === 3 ? undefined : args.in_chans,
      patchNorm: patchNorm(args, norm) || undefined,
      patchBias: args.pre_norm ? false : undefined,
    }),
    dim,
    depth: args.depth,
    heads,
    ...filled({
      mlp: filled({
        hidden: hidden === 4 * dim ? undefined : hidden,
        gate,
        activation: activation === (gate ? "silu" : "gelu") ? undefined : activation,
        norm: args.scale_mlp_norm || undefined,
        bias: args.proj_bias ? undefined : false,
      }),
      attention: filled({
        qkvBias: args.qkv_bias ? undefined : false,
        projBias: args.proj_bias ? undefined : false,
        qkNorm: args.qk_norm || undefined,
        norm: args.scale_attn_norm || undefined,
        differential: differential || undefined,
      }),
      tokens: filled({ class: args.class_token ? undefined : false, distillation: distilled || undefined, registers: args.reg_tokens || undefined }),
      // A distilled model makes a table of its own.
      position: args.pos_embed !== "learn" && !distilled ? { kind: "none" as const } : args.no_embed_class && prefixed ? { prefix: false } : undefined,
      norm: normField(norm),
      preNorm: args.pre_norm || undefined,
      block,
      layerScale,
      finalNorm: finalNorm(args),
      pool: pool === "token" ? undefined : pool,
      poolPrefix: (args.pool_include_prefix && ["avg", "max", "avgmax", "map"].includes(pool)) || undefined,
      mapPool: pool === "map" && width !== hidden ? { hidden: width } : undefined,
    }),
    classes,
    ...filled({ dropout: dropoutOf(args) }),
  };
}

/** timm's VisionTransformerDistilled takes what its parent takes, and reads or builds but this. */
function checkDistilled(args: VisionTransformerArguments): void {
  if (args.global_pool !== "token") refuse("global_pool", `"${args.global_pool}" has no meaning in a distilled model, whose heads read two tokens; leave it out`);
  if (!args.class_token) refuse("class_token", "false has no meaning in a distilled model; leave it out");
  if (args.reg_tokens > 0) refuse("reg_tokens", `${args.reg_tokens} has no meaning in a distilled model; leave it out`);
  if (args.no_embed_class) refuse("no_embed_class", "true has no meaning in a distilled model, whose table has rows for both tokens; leave it out");
  if (args.fc_norm) refuse("fc_norm", "true has no meaning in a distilled model, which does not apply it; leave it out");
}

/** The norm behind the patch embedding is of a kind of its own in timm, and the model's in a spec. */
function patchNorm({ embed_norm_layer: layer }: VisionTransformerArguments, norm: ReturnType<typeof normOf>): boolean {
  if (layer === null || layer === "") return false;
  const own = normOf(layer, "embed_norm_layer");
  if (own.kind !== norm.kind || own.eps !== norm.eps) refuse("embed_norm_layer", `is a norm of kind ${own.kind} and eps ${own.eps}, norm_layer one of ${norm.kind} and ${norm.eps}; a spec has one norm, make them equal`);
  return true;
}

/** The last norm is over the pooled vector where an average or maximum is pooled, unless `fc_norm` says otherwise. */
function finalNorm({ final_norm, fc_norm, global_pool }: VisionTransformerArguments): ModelSpec["finalNorm"] {
  const pooled = fc_norm ?? ["avg", "avgmax", "max"].includes(global_pool);
  if (!final_norm) return "none";
  if (pooled && global_pool === "") refuse("fc_norm", `true is a norm behind the pooling, and global_pool "" pools nothing; leave it out`);
  return pooled ? "pooled" : undefined;
}

import type { RopeSpec } from "../../spec/types.js";
import type { BeitArguments, EvaArguments } from "./arguments.js";
import { dropoutOf, filled, hiddenOf, imageAndPatch, normField, normOf, poolOf, refuse, sizeOf, type ModelSpec } from "./words.js";

/**
 * timm's `Eva` of these arguments: EVA, EVA02, rotary ViTs, Perception Encoder, DINOv3.
 * @throws SpecError for what timm can build and a spec cannot say.
 */
export function eva(args: EvaArguments): ModelSpec {
  const { embed_dim: dim, num_classes: classes, num_heads: heads } = args;
  if (args.use_naflex) refuse("use_naflex", "true builds a model of images of any size, which is not supported; leave it out");
  const pool = poolOf(args.global_pool, classes);
  const width = hiddenOf(dim, args.mlp_ratio);
  // timm aligns where it has two layers: for a norm inside or, before a block's norms are put behind its branches, where it is asked to align.
  const split = args.swiglu_mlp && (args.scale_mlp || (!args.use_post_norm && args.swiglu_align_to > 0));
  const hidden = split && args.swiglu_align_to > 0 ? Math.ceil(width / args.swiglu_align_to) * args.swiglu_align_to : width;
  return {
    ...imageAndPatch(args),
    ...filled({ channels: args.in_chans === 3 ? undefined : args.in_chans, patchBias: args.use_pre_transformer_norm ? false : undefined }),
    dim,
    depth: args.depth,
    heads,
    ...filled({
      mlp: filled({ hidden: hidden === 4 * dim ? undefined : hidden, gate: split ? ("split" as const) : args.swiglu_mlp ? ("packed" as const) : undefined, norm: args.scale_mlp || undefined }),
      // Keys have no bias but in the attention that rotary ViTs brought along.
      attention: filled({ qkvBias: args.qkv_bias ? (args.attn_type === "rope" ? undefined : ("qv" as const)) : false, norm: args.scale_attn_inner || undefined }),
      tokens: filled({ class: args.class_token ? undefined : false, registers: args.num_reg_tokens || undefined }),
      position: !args.use_abs_pos_emb ? { kind: "none" as const } : args.no_embed_class && (args.class_token || args.num_reg_tokens > 0) ? { prefix: false } : undefined,
      rope: rope(args),
      norm: normField(normOf(args.norm_layer, "norm_layer")),
      preNorm: args.use_pre_transformer_norm || undefined,
      block: args.use_post_norm ? ("post" as const) : undefined,
      layerScale: args.use_post_norm ? undefined : (args.init_values ?? undefined),
      finalNorm: finalNorm(args),
      pool: pool === "token" ? undefined : pool,
      // It attends to all tokens.
      poolPrefix: pool === "map" || undefined,
      mapPool: pool === "map" ? mapPool(args, width) : undefined,
    }),
    classes,
    ...filled({ dropout: dropoutOf(args) }),
  };
}

function rope(args: EvaArguments): RopeSpec | undefined {
  if (!args.use_rot_pos_emb) return undefined;
  const { rope_type: type, rope_temperature: temperature, rope_grid_indexing: order, rope_rotate_half: half, ref_feat_shape: reference } = args;
  if (type === "base" || type === "mrope") refuse("rope_type", `"${type}" is not supported; "cat", "mixed" and "dinov3" are`);
  if (half !== (type === "dinov3")) refuse("rope_rotate_half", `${half} does not fit the angles of rope_type "${type}"; ${type === "dinov3" ? "set it to true" : "leave it out"}`);
  switch (type) {
    case "cat":
      return {
        kind: "axial",
        ...filled({
          temperature: temperature === 10000 ? undefined : temperature,
          order: order === "ij" ? undefined : order,
          reference: reference === null ? undefined : sizeOf(reference),
          offset: args.rope_grid_offset || undefined,
        }),
      };
    case "mixed":
      if (order === "ij") refuse("rope_grid_indexing", `"ij" is not supported with rope_type "mixed", whose first frequencies are of columns here; set "xy"`);
      return { kind: "mixed", ...filled({ temperature: temperature === 10000 ? undefined : temperature }) };
    case "dinov3":
      return { kind: "dinov3", ...filled({ temperature: temperature === 100 ? undefined : temperature }) };
    default:
      return type satisfies never;
  }
}

/** The last norm is over the pooled vector where an average is pooled, and else over the tokens; both can be set and unset. */
function finalNorm({ use_fc_norm, use_post_transformer_norm, global_pool }: EvaArguments): ModelSpec["finalNorm"] {
  const pooled = use_fc_norm ?? global_pool === "avg";
  const tokens = use_post_transformer_norm ?? !pooled;
  if (pooled && tokens) refuse("use_fc_norm", "true makes a second last norm beside that of use_post_transformer_norm, and a spec has one; set one of them to false");
  if (pooled && global_pool === "") refuse("use_fc_norm", `true is a norm behind the pooling, and global_pool "" pools nothing; leave it out`);
  return pooled ? "pooled" : tokens ? undefined : "none";
}

/** Its MLP is a plain one with gelu, as wide as those of the blocks before any alignment. */
function mapPool(args: EvaArguments, width: number): ModelSpec["mapPool"] {
  if (args.swiglu_mlp) refuse("swiglu_mlp", `true has silu in its blocks and gelu in the MLP of global_pool "map", and a spec has one activation; use another pool`);
  const heads = args.attn_pool_num_heads ?? args.num_heads;
  const hidden = hiddenOf(args.embed_dim, args.attn_pool_mlp_ratio ?? args.mlp_ratio);
  return filled({ heads: heads === args.num_heads ? undefined : heads, hidden: hidden === width ? undefined : hidden });
}

/**
 * timm's `Beit` of these arguments.
 * @throws SpecError for what timm can build and a spec cannot say.
 */
export function beit(args: BeitArguments): ModelSpec {
  const { embed_dim: dim, num_classes: classes } = args;
  if (args.use_shared_rel_pos_bias) refuse("use_shared_rel_pos_bias", "true shares one table of relative positions among the blocks, which is not supported; use_rel_pos_bias has one in each");
  // timm's Beit reads the class token under any name that is not "avg".
  if (args.global_pool === "max" || args.global_pool === "avgmax") refuse("global_pool", `"${args.global_pool}" is the class token in timm's Beit; set "token", or "avg"`);
  const pool = poolOf(args.global_pool, classes);
  const hidden = hiddenOf(dim, args.mlp_ratio);
  return {
    ...imageAndPatch(args),
    ...filled({ channels: args.in_chans === 3 ? undefined : args.in_chans }),
    dim,
    depth: args.depth,
    heads: args.num_heads,
    ...filled({
      mlp: filled({ hidden: hidden === 4 * dim ? undefined : hidden, gate: args.swiglu_mlp ? ("split" as const) : undefined, norm: args.scale_mlp || undefined }),
      attention: filled({ qkvBias: args.qkv_bias ? ("qv" as const) : false, relative: args.use_rel_pos_bias || undefined }),
      position: args.use_abs_pos_emb ? undefined : { kind: "none" as const },
      norm: normField(normOf(args.norm_layer, "norm_layer")),
      layerScale: args.init_values || undefined,
      finalNorm: pool === "avg" ? ("pooled" as const) : undefined,
      pool: pool === "token" ? undefined : pool,
    }),
    classes,
    ...filled({ dropout: dropoutOf(args) }),
  };
}

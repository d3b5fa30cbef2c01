/** transformers' DINOv2, with registers and without, and DINOv3. */
import { z } from "zod";
import { show, SpecError } from "../../spec/errors.js";
import { checked } from "../check.js";
import { activation, classifier, count, encoder, epsilon, headOf, tokensAndPooled, trunk, type BuildOptions, type Built, type Heads, type Trunk } from "./words.js";

const dinov2 = (patch: number, registers: number) =>
  z.looseObject({
    ...encoder,
    patch_size: encoder.patch_size.default(patch),
    mlp_ratio: z.number().positive().default(4),
    layer_norm_eps: epsilon.default(1e-6),
    qkv_bias: z.boolean().default(true),
    layerscale_value: z.number().default(1),
    use_swiglu_ffn: z.boolean().default(false),
    num_register_tokens: count.or(z.literal(0)).default(registers),
  });

type Dinov2 = z.output<ReturnType<typeof dinov2>>;

const dinov2Heads = (name: string): Heads<Dinov2> => ({
  [`${name}Model`]: () => tokensAndPooled,
  // The class token and the mean of patches side by side.
  [`${name}ForImageClassification`]: (config) => ({ pool: "tokenavg", ...classifier(config) }),
});

/** Two thirds of the MLP's width, in whole eights. */
const swigluWidth = (hidden: number): number => Math.ceil(Math.trunc((hidden * 2) / 3) / 8) * 8;

const dinov2Of = (name: string, schema: ReturnType<typeof dinov2>) => (input: unknown, options: BuildOptions): Built => {
  const config = checked(schema, input, { at: "config", field: "a field of config.json" });
  const { head, notes } = headOf(config, dinov2Heads(name), options);
  const hidden = Math.trunc(config.hidden_size * config.mlp_ratio);
  const spec: Trunk = {
    ...trunk(config),
    mlp: config.use_swiglu_ffn ? { hidden: swigluWidth(hidden), gate: "packed", activation: "silu" } : { hidden, activation: activation(config.hidden_act) },
    ...(!config.qkv_bias && { attention: { qkvBias: false } }),
    tokens: { class: true, registers: config.num_register_tokens },
    // Registers come in when positions are added already. What the file adds to the class token becomes a part of it.
    ...(config.num_register_tokens > 0 && { position: { prefix: false } }),
    norm: { eps: config.layer_norm_eps },
    layerScale: config.layerscale_value,
    ...head,
  };
  return { spec, notes };
};

export const dinov2Family = dinov2Of("Dinov2", dinov2(14, 0));
export const dinov2RegistersFamily = dinov2Of("Dinov2WithRegisters", dinov2(16, 4));

const dinov3 = z.looseObject({
  ...encoder,
  hidden_size: count.default(384),
  num_attention_heads: count.default(6),
  intermediate_size: count.default(1536),
  layer_norm_eps: epsilon.default(1e-5),
  rope_theta: z.number().min(1).default(100),
  query_bias: z.boolean().default(true),
  key_bias: z.boolean().default(false),
  value_bias: z.boolean().default(true),
  proj_bias: z.boolean().default(true),
  mlp_bias: z.boolean().default(true),
  use_gated_mlp: z.boolean().default(false),
  layerscale_value: z.number().default(1),
  num_register_tokens: count.or(z.literal(0)).default(0),
});

const dinov3Heads: Heads<z.output<typeof dinov3>> = { DINOv3ViTModel: () => tokensAndPooled };

/** @throws SpecError for biases that a spec cannot say: of queries or values alone, or of keys without both. */
export function dinov3Family(input: unknown, options: BuildOptions): Built {
  const config = checked(dinov3, input, { at: "config", field: "a field of config.json" });
  const { query_bias, key_bias, value_bias } = config;
  if (query_bias !== value_bias || (key_bias && !query_bias)) {
    throw new SpecError([{ field: "config.query_bias", message: `${query_bias}, key_bias ${key_bias}, value_bias ${value_bias}: biases are of all three, of queries and values, or of none` }]);
  }
  const { head, notes } = headOf(config, dinov3Heads, options);
  const hidden_act = activation(config.hidden_act);
  const spec: Trunk = {
    ...trunk(config),
    mlp: { hidden: config.intermediate_size, activation: hidden_act, ...(config.use_gated_mlp && { gate: "split" }), ...(!config.mlp_bias && { bias: false }) },
    attention: { qkvBias: key_bias ? true : query_bias ? "qv" : false, ...(!config.proj_bias && { projBias: false }) },
    tokens: { class: true, registers: config.num_register_tokens },
    position: { kind: "none" },
    rope: { kind: "dinov3", temperature: config.rope_theta },
    norm: { eps: config.layer_norm_eps },
    layerScale: config.layerscale_value,
    ...head,
  };
  const gelu = config.use_gated_mlp && hidden_act !== "silu" ? [`use_gated_mlp with hidden_act ${show(config.hidden_act)}: published models with a gate have "silu"`] : [];
  return { spec, notes: [...notes, ...gelu] };
}

import { readdirSync, readFileSync } from "node:fs";
import { timmConfigSpec, type TimmModel } from "../../compiler/families/timm/index.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { fixturePath, readTensors } from "./fixtures.js";

/** What timm says of its models: `test/fixtures/timm-models.json`, made by asking timm. */
export interface TimmFacts {
  /** The version of timm. */
  readonly timm: string;
  /** Defaults of the constructors' arguments. Layers are named as in a config.json. */
  readonly defaults: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly models: Readonly<Record<string, TimmFact>>;
}

interface TimmFact {
  readonly class: TimmModel["class"];
  /** What its entry point passes to the constructor, where it is not the default. */
  readonly args: Readonly<Record<string, unknown>>;
  /** Of the weights that it takes by default. */
  readonly cfg: {
    readonly tag: string;
    readonly input_size: readonly [number, number, number];
    readonly mean: readonly number[];
    readonly std: readonly number[];
    readonly crop_pct: number;
    readonly crop_mode: string;
    readonly interpolation: string;
    readonly num_classes: number;
    readonly fixed_input_size: boolean;
  };
  /** Parameters, and tensors that hold them. */
  readonly params: number;
  readonly tensors: number;
  /** The first 16 digits of the SHA-256 of its state_dict's lines `name d,d,d`, sorted. It has no buffers. */
  readonly names: string;
}

/** What timm says of every weights of its models: `test/fixtures/timm-tags.json`, made by asking timm. `models` has the row of `cfgs` by name and tag. */
export const timmTagFacts = JSON.parse(readFileSync(fixturePath("timm-tags.json"), "utf8")) as {
  readonly cfgs: readonly Omit<TimmFact["cfg"], "tag" | "fixed_input_size">[];
  readonly models: Readonly<Record<string, Readonly<Record<string, number>>>>;
};

export const timmFacts = JSON.parse(readFileSync(fixturePath("timm-models.json"), "utf8")) as TimmFacts;

interface Named {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * The tensors of timm's file that a parameter of the graph is made of, one below the other. All others have the same name in both:
 *
 * - class Eva and Beit: `ls1.gamma` and `ls2.gamma` are `gamma_1` and `gamma_2`;
 * - class Eva with qkv_fused: false (EVA02 base, large): `attn.qkv.weight` is `attn.q_proj.weight`, `k_proj`, `v_proj`; `attn.q_bias` and
 *   `attn.v_bias` are `attn.q_proj.bias` and `v_proj.bias`; with attn_type "rope" `attn.qkv.bias` is the biases of all three.
 */
export function fileTensors({ name, shape }: Named, { class: of, args }: TimmModel): readonly Named[] {
  const renamed = (pattern: RegExp, to: string): readonly Named[] => [{ name: name.replace(pattern, to), shape }];
  if ((of === "Eva" || of === "Beit") && /\.ls[12]\.gamma$/.test(name)) return renamed(/ls([12])\.gamma$/, "gamma_$1");
  if (of !== "Eva" || args.qkv_fused) return [{ name, shape }];
  if (/\.attn\.[qv]_bias$/.test(name)) return renamed(/([qv])_bias$/, "$1_proj.bias");
  if (/\.attn\.qkv\./.test(name)) return ["q", "k", "v"].map((part) => ({ name: name.replace(".qkv.", `.${part}_proj.`), shape: [shape[0]! / 3, ...shape.slice(1)] }));
  return [{ name, shape }];
}

/** A file of timm's tensors as parameters for `interpret`. `used` tells which of them it has asked for. */
export function timmParameters(tensors: ReadonlyMap<string, Tensor>, model: TimmModel, shapes: ReadonlyMap<string, readonly number[]>): { readonly parameters: (name: string) => Tensor; readonly used: ReadonlySet<string> } {
  const used = new Set<string>();
  const parameters = (name: string): Tensor => {
    const shape = shapes.get(name);
    if (!shape) throw new Error(`the graph has no parameter ${name}`);
    const parts = fileTensors({ name, shape }, model).map((part) => {
      used.add(part.name);
      const tensor = tensors.get(part.name);
      if (!tensor) throw new Error(`the file has no ${part.name}`);
      return tensor;
    });
    if (parts.length === 1) return parts[0]!;
    return { shape: [parts.reduce((rows, part) => rows + part.shape[0]!, 0), ...parts[0]!.shape.slice(1)], data: Float64Array.from(parts.flatMap((part) => [...part.data])) };
  };
  return { parameters, used };
}

/** timm's config.json, as far as the fixtures have it. */
export interface TimmConfig {
  readonly architecture: string;
  readonly num_classes: number;
  readonly global_pool: string;
  readonly model_args: Readonly<Record<string, unknown>>;
}

/** A model of timm with weights, and what timm makes of an input. */
export interface TimmFixture {
  readonly name: string;
  readonly config: TimmConfig;
  readonly spec: ViTSpec;
  /** By timm's names. */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** `input`, `forward_features` and `logits`, which are features of a model without a head. */
  readonly io: ReadonlyMap<string, Tensor>;
}

const fixture = (name: string, config: TimmConfig, weights: ReadonlyMap<string, Tensor>, io: ReadonlyMap<string, Tensor>): TimmFixture => ({ name, config, spec: timmConfigSpec(config), weights, io });

/** Models as timm saves them, one a folder of `test/fixtures/timm`. */
export const savedModels = (): readonly TimmFixture[] =>
  readdirSync(fixturePath("timm")).toSorted().map((name) => {
    const path = (file: string): string => fixturePath(`timm/${name}/${file}`);
    return fixture(name, JSON.parse(readFileSync(path("config.json"), "utf8")) as TimmConfig, readTensors(path("model.safetensors")), readTensors(path("io.safetensors")));
  });

/** Arguments that say how large a model is, and nothing else. */
const sizes: ReadonlySet<string> = new Set(["embed_dim", "depth", "num_heads", "mlp_ratio", "img_size", "patch_size", "num_classes"]);

/** What a name's entry point passes to its constructor but for sizes: names with the same are one model in several sizes. */
export function knobsOf(name: string): string {
  const { class: of, args } = timmFacts.models[name]!;
  return JSON.stringify([of, Object.entries(args).filter(([key]) => !sizes.has(key)).sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** Whether a config changes nothing but sizes of its architecture. */
export const plainKnobs = ({ model_args }: TimmConfig): boolean => Object.keys(model_args).every((key) => sizes.has(key));

/**
 * A tiny model of every set of arguments that an entry point of timm passes, and of some that none does: `test/fixtures/timm-knobs.*`. timm
 * ran them in f64 throughout.
 */
export function knobModels(): readonly TimmFixture[] {
  const tensors = readTensors(fixturePath("timm-knobs.safetensors"));
  // Those of a model are `name/...`; what goes in and comes out is `name/io/...`.
  const below = (prefix: string): Map<string, Tensor> => new Map([...tensors].filter(([key]) => key.startsWith(prefix)).map(([key, tensor]) => [key.slice(prefix.length), tensor]));
  const configs = JSON.parse(readFileSync(fixturePath("timm-knobs.json"), "utf8")) as Readonly<Record<string, TimmConfig>>;
  return Object.entries(configs).map(([name, config]) => {
    const io = below(`${name}/io/`);
    return fixture(name, config, new Map([...below(`${name}/`)].filter(([key]) => !key.startsWith("io/"))), io);
  });
}

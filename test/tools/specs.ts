import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { resolve } from "../../compiler/spec/resolve.js";
import type { Size, ViTSpec } from "../../compiler/spec/types.js";

const folder = new URL("../../specs/", import.meta.url);

/** The names of the examples in specs/. */
export const exampleNames: readonly string[] = readdirSync(fileURLToPath(folder))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length))
  .toSorted();

export async function exampleSpec(name: string): Promise<ViTSpec> {
  const module = (await import(new URL(`${name}.ts`, folder).href)) as { readonly default: ViTSpec };
  return module.default;
}

/** Every example of specs/, by name. */
export const exampleSpecs: ReadonlyMap<string, ViTSpec> = new Map(await Promise.all(exampleNames.map(async (name) => [name, await exampleSpec(name)] as const)));

/** A small spec that every default applies to, and what a test changes in it. */
export const smallSpec = (changes: Partial<ViTSpec> = {}): ViTSpec => ({ name: "small", image: 8, patch: 4, channels: 3, dim: 8, depth: 2, heads: 2, classes: 5, ...changes });

/** A spec with the same parts and flags, small enough for the interpreter: two blocks, a few patches, narrow layers. */
export function shrink(spec: ViTSpec): ViTSpec {
  const full = resolve(spec);
  const heads = Math.min(full.heads, 3);
  const stem = spec.stem?.map((layer, i) => ({ ...layer, channels: 3 + i }));
  const stride = (stem ?? []).reduce((product, layer) => product * (layer.stride ?? 1), 1);
  const patch = full.patch.map((side) => Math.min(side, 3)) as [number, number];
  // What the patch leaves over stays left over.
  const remainder = spec.patchRemainder === "crop" && stride === 1 ? 1 : 0;
  const image: Size = [2 * patch[0] * stride + remainder, 3 * patch[1] * stride + remainder];
  const { labels, headDim, representation, outputs, ...rest } = spec;
  return {
    ...rest,
    // Of the last blocks those that are left.
    ...(outputs && { outputs: outputs.map((name) => name.replace(/^blocks\.(\d+)/, (_, block: string) => `blocks.${Math.max(0, Number(block) - full.depth + 2)}`)) }),
    image,
    patch,
    dim: 4 * heads,
    depth: 2,
    heads,
    ...(headDim !== undefined && { headDim: 5 }),
    ...(representation && { representation: 6 }),
    classes: full.classes > 0 ? 7 : 0,
    ...(labels && { labels: ["a", "b", "c", "d", "e", "f", "g"] }),
    ...(stem && { stem }),
    batch: [1, 2],
  };
}

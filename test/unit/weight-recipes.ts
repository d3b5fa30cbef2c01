/** Runs the steps of weight recipes on sources that tests write down. */

import type { PackedTensor, WeightStep } from "../../runtime/plan.js";
import { packTensor } from "../../runtime/recipe.js";

type Floats = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

export interface Source {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Runs steps on sources, whose registers come first. */
export async function pack(sources: readonly Source[], steps: readonly WeightStep[], shape: readonly number[], kind: (values: readonly number[]) => Floats = (values) => Float32Array.from(values)): Promise<Float32Array<ArrayBuffer>> {
  const tensor: PackedTensor = {
    name: "blocks.0.weight", buffer: 0, offset: 0, dtype: "f32", shape, steps,
    sources: sources.map((source, i) => ({ names: [`s${i}`], shape: source.shape })),
  }; // prettier-ignore
  const packed = await packTensor(tensor, async ({ names }) => kind(sources[Number(names[0]!.slice(1))]!.values));
  if (packed instanceof Uint16Array) throw new Error("f32 was asked for");
  return packed;
}

export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

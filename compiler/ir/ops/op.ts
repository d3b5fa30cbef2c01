import type { GraphBuilder, Value } from "../graph.js";

/** Sizes of the axes, outermost first. */
export type Shape = readonly number[];

/** A tensor of the interpreter: f64, row-major. */
export interface Tensor {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** What an op may need besides its inputs while it is evaluated. */
export interface Evaluation {
  /** Uniform numbers in [0, 1) in training mode, seeded per node; undefined at inference. */
  readonly random?: (() => number) | undefined;
}

interface OpShape<Attrs> {
  /** Shape of the output. Throws IrError if the inputs do not fit. */
  infer(inputs: readonly Shape[], attrs: Attrs): Shape;
  /** Floating point operations; a multiply-add counts two. Default: none. */
  flops?(inputs: readonly Shape[], attrs: Attrs, output: Shape): number;
  /** How many elements of each input must be read at least once. Default: all. */
  touched?(inputs: readonly Shape[], attrs: Attrs, output: Shape): readonly number[];
}

/** An op with a meaning of its own: `evaluate` is a plain f64 loop and is the op's definition. */
export interface Primitive<Attrs> extends OpShape<Attrs> {
  evaluate(inputs: readonly Tensor[], attrs: Attrs, evaluation: Evaluation): Tensor;
  /** True for ops that only make or reshape weights: subgraphs of these on parameters become weight recipes. */
  readonly weights?: true;
}

/** An op that stands for several others: `expand` writes them out, and that is its meaning. */
export interface Fused<Attrs> extends OpShape<Attrs> {
  expand(builder: GraphBuilder, inputs: readonly Value[], attrs: Attrs, name: string): Value;
}

export type Op<Attrs> = Primitive<Attrs> | Fused<Attrs>;

/** A graph that breaks a rule of the IR: our own mistake, not the user's. */
export class IrError extends Error {
  override readonly name = "IrError";
}

export function demand(holds: boolean, message: () => string): asserts holds {
  if (!holds) throw new IrError(message());
}

export const elements = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((size, i) => size === b[i]);

export const zeros = (shape: Shape): Tensor => ({ shape, data: new Float64Array(elements(shape)) });

export const last = (shape: Shape): number => shape[shape.length - 1]!;

/** Bytes of a tensor in f32. */
export const f32Bytes = (shape: Shape): number => elements(shape) * 4;

/** An elementwise function of one tensor. */
export function map(x: Tensor, f: (value: number, index: number) => number): Tensor {
  const out = zeros(x.shape);
  for (let i = 0; i < out.data.length; i++) out.data[i] = f(x.data[i]!, i);
  return out;
}

import type { Graph, Value } from "../../compiler/ir/graph.js";
import { GraphBuilder } from "../../compiler/ir/graph.js";
import { interpret, type InterpretOptions } from "../../compiler/ir/interpret.js";
import type { AttrsOf, OpName } from "../../compiler/ir/ops/index.js";
import { elements, type Shape, type Tensor } from "../../compiler/ir/ops/op.js";
import { RandomStream, randomState } from "../../compiler/ir/random.js";

/** A tensor written out. */
export const tensor = (shape: Shape, values: ArrayLike<number>): Tensor => ({ shape, data: Float64Array.from(values) });

/** Uniform numbers in [-magnitude, magnitude), rounded to f32 so that a GPU gets the same. */
export function randomTensor(shape: Shape, name: string, magnitude = 1): Tensor {
  const random = new RandomStream(randomState(7, name));
  return { shape, data: Float64Array.from({ length: elements(shape) }, () => Math.fround((2 * random.uniform() - 1) * magnitude)) };
}

/** The sum of a function over 0, 1, ..., count - 1. */
export function sum(count: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
}

/** A graph of one node, whose inputs are `x0`, `x1`, ... and whose output is `y`. */
export function singleNode<Name extends OpName>(op: Name, attrs: AttrsOf<Name>, shapes: readonly Shape[]): Graph {
  const builder = new GraphBuilder(op);
  const inputs = shapes.map((shape, i) => builder.input(`x${i}`, shape));
  builder.output("y", builder.node(op, attrs, inputs, op));
  return builder.build();
}

/** What the interpreter makes of one op. */
export function evaluate<Name extends OpName>(op: Name, attrs: AttrsOf<Name>, inputs: readonly Tensor[], training?: InterpretOptions["training"]): Tensor {
  const named = Object.fromEntries(inputs.map((input, i) => [`x${i}`, input]));
  return interpret(singleNode(op, attrs, inputs.map((input) => input.shape)), { inputs: named, parameters: unknown, ...(training && { training }) }).get("y")!;
}

function unknown(name: string): never {
  throw new Error(`there is no parameter ${name}`);
}

/**
 * Seeded values for every input and parameter of a graph: no weight is zero or one, variances are positive, and matrices keep the size of
 * what they multiply.
 */
export function randomValues(graph: Graph, seed: number): InterpretOptions {
  const values = (name: string, { shape }: Value): Tensor => {
    const random = new RandomStream(randomState(seed, name));
    const fill = (make: (u: number) => number): Tensor => ({ shape, data: Float64Array.from({ length: elements(shape) }, () => make(random.uniform())) });
    if (name.endsWith("running_var")) return fill((u) => 0.5 + u);
    if (name.endsWith(".weight") && shape.length === 1) return fill((u) => 0.5 + u);
    if (name.endsWith(".weight")) return fill((u) => ((2 * u - 1) * 2) / Math.sqrt(elements(shape.slice(1))));
    return fill((u) => 2 * u - 1);
  };
  const parameters = new Map(graph.parameters.map(({ name, value }) => [name, values(name, value)]));
  return {
    inputs: Object.fromEntries(graph.inputs.map(({ name, value }) => [name, values(name, value)])),
    parameters: (name) => parameters.get(name) ?? unknown(name),
  };
}

import type { PackedTensor, WeightSource, WeightStep } from "../../runtime/plan.js";
import { expectWeightOp, type GraphIndex } from "./graph-index.js";
import type { Value } from "../ir/graph.js";
import { elements, f32Bytes, IrError, type Shape } from "../ir/ops/op.js";

/** A step before registers are numbered: `of` holds indices of earlier values in the chain. */
type Steps = WeightStep[];

/** How a kernel wants a weight: extra steps behind those of the graph, and the shape they leave. */
export interface Layout {
  /** Tells layouts of one weight apart. */
  readonly key: string;
  readonly shape: Shape;
  /** Steps that turn the tensor in register `of` into the layout; they may use registers from `next` on. */
  steps(of: number, next: number): readonly WeightStep[];
}

/** As it is in the graph. */
export const plainLayout = (shape: Shape): Layout => ({ key: "plain", shape, steps: () => [] });

/** A vector with zeros behind it. */
export function paddedVector(shape: Shape, length: number): Layout {
  return { key: `vector ${length}`, shape: [length], steps: (of) => (shape[0] === length ? [] : [{ op: "pad", of, shape: [length] }]) };
}

/**
 * The weight of a matrix product as kernels read it: [inner, columns padded]. A linear weight is [out, in]; a convolution's [out, in, y, x]
 * becomes [(in, y, x), out] for windows of an image and [(y, x, in), out] for windows of a map.
 */
export function matrixLayout(shape: Shape, order: "rows" | "image" | "map", cols: number): Layout {
  const inner = elements(shape) / shape[0]!;
  return {
    key: `matrix ${order} ${cols}`,
    shape: [inner, cols],
    steps(of, next) {
      const steps: Steps = [];
      let register = of;
      const push = (step: WeightStep) => {
        steps.push(step);
        register = next + steps.length - 1;
      };
      if (order === "map") {
        push({ op: "transpose", of: register, axes: [2, 3, 1, 0] });
        push({ op: "reshape", of: register, shape: [inner, shape[0]!] });
      } else {
        if (shape.length !== 2) push({ op: "reshape", of: register, shape: [shape[0]!, inner] });
        push({ op: "transpose", of: register, axes: [1, 0] });
      }
      if (cols !== shape[0]) push({ op: "pad", of: register, shape: [inner, cols] });
      return steps;
    },
  };
}

/** Weight buffers end here: the default limit of a binding, so that any tensor in a full buffer can be bound. */
const bufferBytes = 128 * 2 ** 20;

/** Collects the packed tensors of all profiles of a plan; what is asked for twice is stored once. */
export class WeightStore {
  readonly tensors: PackedTensor[] = [];
  readonly buffers: number[] = [];
  private readonly byRecipe = new Map<string, PackedTensor>();

  /** The packed tensor for a weight value in a layout. */
  request(index: GraphIndex, value: Value, layout: Layout): PackedTensor {
    // A parameter is known by its name in every profile; a derived weight by how it is made.
    const parameter = index.parameterName(value);
    const derived = parameter === undefined ? recipeOf(index, value) : undefined;
    const key = `${parameter ?? JSON.stringify(derived)} as ${layout.key}`;
    const known = this.byRecipe.get(key);
    if (known) return known;
    const { name, sources, steps, result } = derived ?? recipeOf(index, value);
    const all = [...steps, ...layout.steps(result, sources.length + steps.length)];
    const tensor: PackedTensor = { name, ...this.place(f32Bytes(layout.shape)), dtype: "f32", shape: layout.shape, sources, steps: all };
    this.tensors.push(tensor);
    this.byRecipe.set(key, tensor);
    return tensor;
  }

  private place(bytes: number): { buffer: number; offset: number } {
    const last = this.buffers.length - 1;
    const offset = last >= 0 ? align(this.buffers[last]!) : 0;
    if (last >= 0 && offset + bytes <= bufferBytes) {
      this.buffers[last] = offset + bytes;
      return { buffer: last, offset };
    }
    this.buffers.push(bytes);
    return { buffer: last + 1, offset: 0 };
  }
}

/** Up to the next multiple of 256, the alignment of a storage binding. */
export const align = (bytes: number): number => Math.ceil(bytes / 256) * 256;

/** The weight-only subgraph above a value, as sources and steps with numbered registers. */
function recipeOf(index: GraphIndex, value: Value): { name: string; sources: WeightSource[]; steps: Steps; result: number } {
  const sources: WeightSource[] = [];
  const registers = new Map<Value, number>();
  const order: Value[] = [];
  const visit = (v: Value): void => {
    if (registers.has(v) || order.includes(v)) return;
    const parameter = index.parameterName(v);
    if (parameter !== undefined) {
      registers.set(v, sources.length);
      sources.push({ names: [parameter], shape: v.shape });
      return;
    }
    expectWeightOp(index, v).inputs.forEach(visit);
    order.push(v);
  };
  visit(value);
  const steps = order.map((v, i) => {
    const node = expectWeightOp(index, v);
    const of = node.inputs.map((input) => registers.get(input)!);
    registers.set(v, sources.length + i);
    switch (node.op) {
      case "foldBatchNormScale":
        return { op: node.op, of: of as [number, number, number], eps: node.attrs.eps } as const;
      case "foldBatchNormShift":
        return { op: node.op, of: of as [number, number, number, number], eps: node.attrs.eps } as const;
      case "positionTable": {
        const { kind, grid, dim, prefix, temperature } = node.attrs;
        return kind === "sincos2d" ? ({ op: kind, grid, dim, prefix, temperature } as const) : ({ op: kind, length: grid[0] * grid[1], dim, prefix, temperature } as const);
      }
      default:
        throw new IrError(`${node.name}: no weight recipe for ${node.op}`);
    }
  });
  const name = index.parameterName(value) ?? expectWeightOp(index, value).name;
  return { name, sources, steps, result: registers.get(value)! };
}

import type { DType, PackedTensor, WeightSource, WeightStep } from "../../runtime/plan.js";
import { recipeOfTree, treeOf } from "../../runtime/recipe-tree.js";
import { expectWeightOp, type GraphIndex } from "./graph-index.js";
import type { Value } from "../ir/graph.js";
import { elements, IrError, type Shape } from "../ir/ops/op.js";
import { bytesPer } from "./precision.js";

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

/** Rows of a weight [out, ...], or elements of a bias [out], that are wanted. */
export interface Slice {
  readonly start: number;
  readonly end: number;
}

/** A vector, or a piece of it, with zeros behind it. */
export function paddedVector(shape: Shape, length: number, slice?: Slice): Layout {
  return {
    key: `vector ${length}${sliceKey(slice)}`,
    shape: [length],
    steps(of, next) {
      const chain = new Chain(of, next);
      if (slice) chain.push((of) => ({ op: "slice", of, axis: 0, ...slice }));
      if ((slice ? slice.end - slice.start : shape[0]) !== length) chain.push((of) => ({ op: "pad", of, shape: [length] }));
      return chain.steps;
    },
  };
}

/**
 * The weight of a matrix product as kernels read it: [inner, columns padded]. A linear weight is [out, in]; a convolution's [out, in, y, x]
 * becomes [(in, y, x), out] for windows of an image and [(y, x, in), out] for windows of a map. `slice` takes some of the outputs.
 */
export function matrixLayout(shape: Shape, order: "rows" | "image" | "map", cols: number, slice?: Slice): Layout {
  const out = slice ? slice.end - slice.start : shape[0]!;
  const inner = elements(shape) / shape[0]!;
  return {
    key: `matrix ${order} ${cols}${sliceKey(slice)}`,
    shape: [inner, cols],
    steps(of, next) {
      const chain = new Chain(of, next);
      if (slice) chain.push((of) => ({ op: "slice", of, axis: 0, ...slice }));
      if (order === "map") {
        chain.push((of) => ({ op: "transpose", of, axes: [2, 3, 1, 0] }));
        chain.push((of) => ({ op: "reshape", of, shape: [inner, out] }));
      } else {
        if (shape.length !== 2) chain.push((of) => ({ op: "reshape", of, shape: [out, inner] }));
        chain.push((of) => ({ op: "transpose", of, axes: [1, 0] }));
      }
      if (cols !== out) chain.push((of) => ({ op: "pad", of, shape: [inner, cols] }));
      return chain.steps;
    },
  };
}

const sliceKey = (slice: Slice | undefined): string => (slice ? ` of ${slice.start} to ${slice.end}` : "");

/** Steps that each read the one before. */
class Chain {
  readonly steps: WeightStep[] = [];

  constructor(
    private readonly of: number,
    private readonly next: number,
  ) {}

  push(step: (of: number) => WeightStep): void {
    this.steps.push(step(this.steps.length === 0 ? this.of : this.next + this.steps.length - 1));
  }
}

/** Collects the packed tensors of all profiles of a plan; what is asked for twice is stored once. */
export class WeightStore {
  readonly tensors: PackedTensor[] = [];
  readonly buffers: number[] = [];
  private readonly byRecipe = new Map<string, PackedTensor>();

  /** @param bufferBytes where weight buffers end: the limit of a binding, so that a buffer can be bound whole */
  constructor(private readonly bufferBytes = 128 * 2 ** 20) {}

  /** The packed tensor for a weight value in a layout, rounded to `dtype`. */
  request(index: GraphIndex, value: Value, layout: Layout, dtype: DType): PackedTensor {
    // A parameter is known by its name in every profile; a derived weight by how it is made.
    const parameter = index.parameterName(value);
    const derived = parameter === undefined ? recipeOf(index, value) : undefined;
    const key = `${parameter ?? JSON.stringify(derived)} as ${layout.key} ${dtype}`;
    const known = this.byRecipe.get(key);
    if (known) return known;
    const { name, sources, steps, result } = derived ?? recipeOf(index, value);
    const all = [...steps, ...layout.steps(result, sources.length + steps.length)];
    const tensor: PackedTensor = { name, ...this.place(elements(layout.shape) * bytesPer(dtype)), dtype, shape: layout.shape, ...recipeOfTree(treeOf({ sources, steps: all }), sources) };
    this.tensors.push(tensor);
    this.byRecipe.set(key, tensor);
    return tensor;
  }

  private place(bytes: number): { buffer: number; offset: number } {
    return placeTensor(this.buffers, bytes, this.bufferBytes);
  }
}

/** Places a tensor of so many bytes behind those in the last buffer, or in a new one where that would be too large; grows `buffers`. */
export function placeTensor(buffers: number[], bytes: number, most: number): { buffer: number; offset: number } {
  const last = buffers.length - 1;
  const offset = last >= 0 ? align(buffers[last]!) : 0;
  if (last >= 0 && offset + bytes <= most) {
    buffers[last] = offset + bytes;
    return { buffer: last, offset };
  }
  buffers.push(bytes);
  return { buffer: last + 1, offset: 0 };
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
      case "foldNormScale":
        return { op: node.op, of: of as [number, number], centre: node.attrs.centre } as const;
      case "foldNormShift":
        return { op: node.op, of: of as [number, number] | [number, number, number] } as const;
      case "foldPixelScale":
        return { op: node.op, of: of[0]!, std: node.attrs.std } as const;
      case "foldPixelShift":
        return { op: node.op, of: of as [number] | [number, number], mean: node.attrs.mean, std: node.attrs.std } as const;
      case "scaleRows":
        return { op: node.op, of: of[0]!, ...node.attrs } as const;
      case "scaleChannels":
        return { op: node.op, of: of as [number, number] } as const;
      case "sliceRows":
        return { op: "slice", of: of[0]!, axis: 0, ...node.attrs } as const;
      case "sliceColumns":
        return { op: "slice", of: of[0]!, axis: 1, ...node.attrs } as const;
      case "concatRows":
        return { op: "concat", of, axis: 0 } as const;
      case "weightLinear":
        return { op: node.op, of: of as [number, number] | [number, number, number] } as const;
      case "queryValueBias":
        return { op: node.op, of: of as [number, number] } as const;
      case "differentialFactor":
        return { op: node.op, of: of as [number, number, number, number], ...node.attrs } as const;
      case "resampleTable":
        return { op: node.op, of: of[0]!, ...node.attrs } as const;
      case "resampleRelative":
        return { op: node.op, of: of[0]!, ...node.attrs } as const;
      case "resamplePatch":
        return { op: node.op, of: of[0]!, ...node.attrs } as const;
      case "rotaryTable":
        return { op: node.op, of: of as [] | [number], ...node.attrs } as const;
      case "tokenTable":
        return { op: node.op, of, ...node.attrs } as const;
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

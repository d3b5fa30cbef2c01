/**
 * Single elements of a node's result without the rest of it: a smaller node of the same op is made and interpreted, on the rows, columns and
 * heads that an element depends on. A kernel of ViT-L is checked so for what a few dot products cost.
 */
import { flopsOf } from "../ir/cost.js";
import { makeNode, newValue, type Node, type NodeOf, type Value } from "../ir/graph.js";
import { interpret } from "../ir/interpret.js";
import { elements, last, type Shape, type Tensor } from "../ir/ops/op.js";
import type { SampledWeights } from "./sample-weights.js";

/** A tensor whose elements are made when they are asked for. */
export interface LazyTensor {
  readonly shape: Shape;
  at(index: number): number;
}

/** What a node reads. */
export interface SampleInputs {
  activation(value: Value): LazyTensor;
  readonly weights: SampledWeights;
}

export interface Samples {
  /** Elements of the result, ascending. */
  readonly at: readonly number[];
  readonly expected: readonly number[];
  /** Root mean square of all that was computed of the result. */
  readonly scale: number;
}

/** Smaller work of the same op, and its result's elements that are elements of the whole. */
interface Part {
  readonly node: Node;
  readonly inputs: readonly Tensor[];
  /** Pairs of an element of the whole and its place in the part. */
  readonly elements: readonly (readonly [whole: number, part: number])[];
}

/** Heads that are computed whole cost this many FLOPs together, or are one. */
const headFlops = 1e8;
/** A head that costs more is left alone: the f64 loops mean and are not fast. */
const mostHeadFlops = 2e9;
/** Images of a batch that are computed whole are so many elements together, or are three. */
const imageElements = 1e5;

/**
 * Elements of a node's result, spread over it, its first and last among them.
 * @param columns of a product, where the others are not computed
 * @returns undefined where computing even a few takes too long: maps and relative or differential attention of very many tokens
 */
export function sample(node: Node, inputs: SampleInputs, count: number, columns?: { readonly first: number; readonly cols: number }): Samples | undefined {
  const parts = columns ? columnParts(node as NodeOf<"gemm">, inputs, count, columns) : partsOf(node, inputs, count);
  if (parts === undefined) return undefined;
  const found = new Map<number, number>();
  let [squares, computed] = [0, 0];
  for (const part of parts) {
    const { data } = evaluate(part);
    for (const value of data) squares += value * value;
    computed += data.length;
    for (const [whole, at] of part.elements) found.set(whole, data[at]!);
  }
  const at = [...found.keys()].sort((a, b) => a - b);
  return { at, expected: at.map((element) => found.get(element)!), scale: Math.sqrt(squares / computed) };
}

function partsOf(node: Node, inputs: SampleInputs, count: number): readonly Part[] | undefined {
  const at = spread(elements(node.output.shape), count);
  switch (node.op) {
    case "gemm":
      return at.map((element) => gemmPart(node, inputs, element));
    case "attention":
      return node.attrs.relative ? headParts(node, inputs, count) : at.map((element) => queryPart(node, inputs, element));
    case "differentialAttention":
    case "attentionMap":
      return headParts(node, inputs, count);
    default:
      // All else costs no more than its elements.
      return imageParts(node, inputs, count);
  }
}

/** Whole images, of a large batch a few: no op reads one image for another. */
function imageParts(node: Node, inputs: SampleInputs, count: number): readonly Part[] {
  const batch = node.output.shape[0]!;
  const inner = elements(node.output.shape) / batch;
  const images = spread(batch, Math.max(3, Math.floor(imageElements / inner)));
  const picked = spread(images.length * inner, count);
  return images.map((image, turn): Part => {
    const tensors = node.inputs.map((value) => {
      if (inputs.weights.has(value)) return inputs.weights.whole(value);
      const { at } = inputs.activation(value);
      const start = (image * elements(value.shape)) / batch;
      return gather(value.shape.with(0, 1), (i) => at(start + i));
    });
    return partOf(remade(node, tensors), tensors, picked.filter((i) => Math.floor(i / inner) === turn).map((i) => [image * inner + (i % inner), i % inner]));
  });
}

/** A product in some of its columns. */
function columnParts(node: NodeOf<"gemm">, inputs: SampleInputs, count: number, { first, cols }: { readonly first: number; readonly cols: number }): readonly Part[] {
  const { shape } = node.output;
  const rows = elements(shape) / last(shape);
  return spread(rows * cols, count).map((i) => gemmPart(node, inputs, Math.floor(i / cols) * last(shape) + first + (i % cols)));
}

/** Numbers below `size` at about equal distances. */
const spread = (size: number, count: number): readonly number[] => [...new Set(Array.from({ length: count }, (_, i) => Math.floor((i * (size - 1)) / (count - 1))))];

function evaluate({ node, inputs }: Part): Tensor {
  const values = [...new Set(node.inputs)].map((value, i) => ({ name: `x${i}`, value }));
  const given = values.map(({ name, value }) => [name, inputs[node.inputs.indexOf(value)]!] as const);
  return interpret({ name: node.name, inputs: values, parameters: [], nodes: [node], outputs: [{ name: "y", value: node.output }] }, { inputs: Object.fromEntries(given), parameters: () => undefined as never }).get("y")!;
}

const gather = (shape: Shape, at: (index: number) => number): Tensor => ({ shape, data: Float64Array.from({ length: elements(shape) }, (_, i) => at(i)) });

const lazy = (value: Value, { activation, weights }: SampleInputs): LazyTensor => {
  if (!weights.has(value)) return activation(value);
  const { shape, data } = weights.whole(value);
  return { shape, at: (index) => data[index]! };
};

/** One row and one column of a product; of windows the one window. */
function gemmPart(node: NodeOf<"gemm">, inputs: SampleInputs, element: number): Part {
  const { source, bias, residual, table } = node.attrs;
  const [x, w] = node.inputs as [Value, Value];
  const added = node.inputs[node.inputs.length - 1]!;
  const { weights } = inputs;
  const columns = w.shape[0]!;
  const [row, column] = [Math.floor(element / columns), element % columns];
  const tokens = node.output.shape[1]!;
  // A prefix row is what the table says, and has no window: that of the first position stands behind it.
  const prefix = source.kind === "rows" ? 0 : (source.prefix ?? 0);
  const alone = row % tokens < prefix;
  const taken = source.kind === "rows" ? rowOf(x, inputs, row) : windowOf(x, w, source, inputs, Math.floor(row / tokens), alone ? 0 : (row % tokens) - prefix);
  const shape = source.kind === "rows" ? [...taken.shape.slice(0, -1), 1] : [1, alone ? 2 : 1, 1];
  const tensors = [taken, weights.row(w, column), ...(bias ? [weights.row(node.inputs[2]!, column)] : [])];
  if (residual) tensors.push(gather(shape, () => lazy(added, inputs).at(element)));
  if (table) tensors.push(gather(shape, () => lazy(added, inputs).at((row % tokens) * columns + column)));
  const windows = source.kind === "image" ? { kind: source.kind } : source.kind === "map" ? { kind: source.kind, height: w.shape[2]!, width: w.shape[3]! } : undefined;
  const small = windows === undefined ? source : { ...windows, stride: [1, 1] as const, padding: [0, 0] as const, ...(alone && { prefix: 1 }) };
  return partOf(makeNode("gemm", { ...node.attrs, source: small }, tensors.map((tensor) => newValue(tensor.shape)), node.name), tensors, [[element, 0]]);
}

const partOf = (node: Node, inputs: readonly Tensor[], pairs: Part["elements"]): Part => ({ node, inputs, elements: pairs });

function rowOf(x: Value, { activation }: SampleInputs, row: number): Tensor {
  const width = last(x.shape);
  const { at } = activation(x);
  return gather([...x.shape.slice(0, -1).map(() => 1), width], (i) => at(row * width + i));
}

/** What a convolution reads for one position of one image; outside of the image that is zero. */
function windowOf(x: Value, w: Value, source: Exclude<NodeOf<"gemm">["attrs"]["source"], { kind: "rows" }>, { activation }: SampleInputs, image: number, position: number): Tensor {
  const [channels, rows, columns] = w.shape.slice(1) as [number, number, number];
  const [height, width] = source.kind === "image" ? (x.shape.slice(2) as [number, number]) : [source.height, source.width];
  const across = Math.floor((width + 2 * source.padding[1] - columns) / source.stride[1]) + 1;
  const top = Math.floor(position / across) * source.stride[0] - source.padding[0];
  const left = (position % across) * source.stride[1] - source.padding[1];
  const { at } = activation(x);
  const pixel = (channel: number, i: number, j: number): number => {
    const [y, z] = [top + i, left + j];
    if (y < 0 || y >= height || z < 0 || z >= width) return 0;
    return at(source.kind === "image" ? ((image * channels + channel) * height + y) * width + z : ((image * height + y) * width + z) * channels + channel);
  };
  if (source.kind === "image") return gather([1, channels, rows, columns], (i) => pixel(Math.floor(i / (rows * columns)), Math.floor(i / columns) % rows, i % columns));
  return gather([1, rows * columns, channels], (i) => pixel(i % channels, Math.floor(i / channels / columns), Math.floor(i / channels) % columns));
}

/** One query of one head, with all its keys and values. */
function queryPart(node: NodeOf<"attention">, inputs: SampleInputs, element: number): Part {
  const { heads, scale, shared } = node.attrs;
  const [first, packed] = node.inputs as [Value, Value?];
  const width = last(node.output.shape);
  const headDim = width / heads;
  const queries = node.output.shape.length === 3 ? node.output.shape[1]! : 1;
  const [row, column] = [Math.floor(element / width), element % width];
  const [image, head] = [Math.floor(row / queries), Math.floor(column / headDim)];
  const [kv, parts] = packed ? [packed, 2] : [first, 3];
  const tokens = kv.shape[1]!;
  // Queries that all images share are a weight.
  const [q, keys] = [lazy(first, inputs), inputs.activation(kv)];
  const start = head * headDim;
  const query = gather([1, 1, headDim], (i) => q.at((shared ? row % queries : row) * (packed ? width : 3 * width) + start + i));
  // Of a packed projection the keys come behind the queries.
  const others = gather([1, tokens, 2 * headDim], (i) => {
    const [token, rest] = [Math.floor(i / (2 * headDim)), i % (2 * headDim)];
    return keys.at(((image * tokens + token) * parts + parts - 2 + Math.floor(rest / headDim)) * width + start + (rest % headDim));
  });
  return partOf(makeNode("attention", { heads: 1, scale }, [newValue(query.shape), newValue(others.shape)], node.name), [query, others], [[element, column - start]]);
}

/** Whole heads of whole images: their ops take no single queries. */
function headParts(node: NodeOf<"attention"> | NodeOf<"differentialAttention"> | NodeOf<"attentionMap">, inputs: SampleInputs, count: number): readonly Part[] | undefined {
  const { heads } = node.attrs;
  const [x, ...others] = node.inputs as [Value, ...Value[]];
  const [images, tokens, packed] = x.shape as [number, number, number];
  const headDim = packed / 3 / heads;
  const each = flopsOf(node) / (images * heads);
  if (each > mostHeadFlops) return undefined;
  const chosen = spread(images * heads, Math.min(count, Math.max(2, Math.floor(headFlops / each)))).slice(each > headFlops ? -1 : 0);
  const isMap = node.op === "attentionMap";
  const size = tokens * (isMap ? tokens : headDim);
  const picked = spread(chosen.length * size, count);
  const { at } = inputs.activation(x);
  return chosen.map((group, turn): Part => {
    const [image, head] = [Math.floor(group / heads), group % heads];
    const cut = gather([1, tokens, 3 * headDim], (i) => at((image * tokens * 3 + Math.floor(i / headDim)) * heads * headDim + head * headDim + (i % headDim)));
    const rest = others.map((value) => {
      const { shape, data } = inputs.weights.whole(value);
      // A table has a column a head; what else there is belongs to all heads.
      return shape.length === 2 ? gather([shape[0]!, 1], (i) => data[i * heads + head]!) : { shape, data };
    });
    const tensors = [cut, ...rest];
    const whole = (i: number): number => (isMap ? group * tokens * tokens + i : ((image * tokens + Math.floor(i / headDim)) * heads + head) * headDim + (i % headDim));
    const small = { ...node, attrs: { ...node.attrs, heads: 1 } } as Node;
    return partOf(remade(small, tensors), tensors, picked.filter((i) => Math.floor(i / size) === turn).map((i) => [whole(i % size), i % size]));
  });
}

/** A node of an op on tensors of other shapes. */
const remade = ({ op, attrs, name }: Node, inputs: readonly Tensor[]): Node => makeNode(op, attrs as never, inputs.map(({ shape }) => newValue(shape)), name);

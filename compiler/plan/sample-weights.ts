/** Weights that are made of seeded parameters: whole, or a single row without the others. */
import { makeNode, newValue, type Graph, type Node, type Value } from "../ir/graph.js";
import { interpret } from "../ir/interpret.js";
import { elements, type Tensor } from "../ir/ops/op.js";
import { isWeightOp, type GraphIndex } from "./graph-index.js";
import { seededValue } from "./seeded.js";

export interface SampledWeights {
  /** Whether a value is a weight. */
  has(value: Value): boolean;
  whole(value: Value): Tensor;
  /** Row `row` of axis 0, which then has length 1. */
  row(value: Value, row: number): Tensor;
}

/** Weights of one test; those that were made whole are kept as long as this is. */
export function sampledWeights(index: GraphIndex): SampledWeights {
  const made = new Map<Value, Tensor>();
  const whole = (value: Value): Tensor => {
    const known = made.get(value) ?? wholeWeight(index, value);
    made.set(value, known);
    return known;
  };
  return { has: (value) => index.isWeight(value), whole, row: (value, row) => new RowBuilder(index, whole).tensor(value, row) };
}

/** A weight with all that makes it. */
function wholeWeight(index: GraphIndex, value: Value): Tensor {
  const { graph } = index;
  const needed = new Set<Value>([value]);
  const nodes: Node[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!needed.has(node.output) || !isWeightOp(node)) continue;
    nodes.unshift(node);
    for (const input of node.inputs) needed.add(input);
  }
  return run({ ...graph, inputs: [], parameters: graph.parameters.filter((parameter) => needed.has(parameter.value)), nodes, outputs: [{ name: "y", value }] }, ({ name, value: { shape } }) => seededRows(name, shape, 0, shape[0] ?? 1));
}

const run = (graph: Graph, parameter: (named: Graph["parameters"][number]) => Tensor): Tensor => interpret(graph, { inputs: {}, parameters: (name) => parameter(graph.parameters.find((each) => each.name === name)!) }).get("y")!;

function seededRows(name: string, shape: readonly number[], first: number, rows: number): Tensor {
  const inner = elements(shape.slice(1));
  const at = seededValue(name, shape, "parameter");
  const data = new Float64Array(rows * inner);
  for (let i = 0; i < data.length; i++) data[i] = at(first * inner + i);
  return { shape: shape.with(0, rows), data };
}

/** Restates the ops that make a weight for one of its rows. What no rule restates is made whole. */
class RowBuilder {
  private readonly nodes: Node[] = [];
  private readonly tensors = new Map<string, { readonly value: Value; readonly tensor: Tensor }>();

  constructor(private readonly index: GraphIndex, private readonly whole: (value: Value) => Tensor) {}

  tensor(value: Value, row: number): Tensor {
    const result = this.value(value, row);
    const parameters = [...this.tensors].map(([name, bound]) => ({ name, value: bound.value }));
    return run({ name: "row", inputs: [], parameters, nodes: this.nodes, outputs: [{ name: "y", value: result }] }, ({ name }) => this.tensors.get(name)!.tensor);
  }

  private value(value: Value, row: number): Value {
    const node = this.index.producer(value);
    const name = this.index.parameterName(value);
    if (name !== undefined) return this.bind(`${name} ${row}`, () => seededRows(name, value.shape, row, 1));
    switch (node?.op) {
      case "sliceRows":
        return this.value(node.inputs[0]!, row + node.attrs.start);
      case "concatRows": {
        let first = row;
        for (const input of node.inputs) {
          if (first < input.shape[0]!) return this.value(input, first);
          first -= input.shape[0]!;
        }
        break;
      }
      case "scaleRows": {
        const { start, end, factor } = node.attrs;
        const scaled = this.value(node.inputs[0]!, row);
        return row < start || row >= end ? scaled : this.add(makeNode("scaleRows", { start: 0, end: 1, factor }, [scaled], node.name));
      }
      // Of these a row needs the same row of every input,
      case "scaleChannels":
      case "foldBatchNormScale":
      case "foldBatchNormShift":
      case "foldPixelScale":
      case "foldPixelShift":
      case "resamplePatch":
      case "sliceColumns":
        return this.add(makeNode(node.op, node.attrs as never, node.inputs.map((input) => this.value(input, row)), node.name));
      // and of these all of the second, which lies along the row.
      case "foldNormScale":
      case "foldNormShift":
        return this.add(makeNode(node.op, node.attrs as never, node.inputs.map((input, i) => (i === 1 ? this.all(input) : this.value(input, row))), node.name));
      default:
    }
    const inner = elements(value.shape.slice(1));
    return this.bind(`%${value.id} ${row}`, () => ({ shape: value.shape.with(0, 1), data: this.whole(value).data.slice(row * inner, (row + 1) * inner) }));
  }

  private all(value: Value): Value {
    return this.bind(`%${value.id}`, () => this.whole(value));
  }

  private add(node: Node): Value {
    this.nodes.push(node);
    return node.output;
  }

  private bind(name: string, make: () => Tensor): Value {
    const known = this.tensors.get(name);
    if (known) return known.value;
    const tensor = make();
    const value = newValue(tensor.shape);
    this.tensors.set(name, { value, tensor });
    return value;
  }
}

import type { Graph, Value } from "../ir/graph.js";
import { IrError } from "../ir/ops/op.js";
import { version } from "../version.js";
import type { Initializer, OnnxModel, OnnxNode } from "./model.js";
import { translate, type Call, type Constant, type Operand } from "./translate.js";

export interface OnnxOptions {
  /** Images in a run. Default: any number; the axis is then called `batch`. */
  readonly batch?: number | undefined;
  /** Text by name for the model's `metadata_props`. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The name of the first axis where its size is left open. */
export const batchAxis = "batch";

/**
 * A graph as an ONNX model with the standard operators of opset 20. The graph is one that the pass `inference` has seen and no fusion; the
 * batch it was built for is left behind. Nodes bear the graph's names, initializers the parameters', outputs the spec's.
 * @throws IrError for an op that is no primitive of inference.
 */
export function toOnnx(graph: Graph, { batch, metadata = {} }: OnnxOptions = {}): OnnxModel {
  const [input] = graph.inputs;
  if (input === undefined) throw new IrError(`${graph.name} has no input`);
  const shaped = (name: string, { shape }: Value) => ({ name, shape: [batch ?? batchAxis, ...shape.slice(1)] });
  return {
    name: graph.name,
    producerVersion: version,
    doc: `${graph.name}, a Vision Transformer declared for vitc and exported before any fusion. Parameters have the names and shapes of its weight file.`,
    metadata,
    inputs: graph.inputs.map(({ name, value }) => shaped(name, value)),
    outputs: graph.outputs.map(({ name, value }) => shaped(name, value)),
    ...new Translation(graph, { input: input.name, batch }).run(),
  };
}

/** The nodes and initializers of a model in the making. */
class Translation {
  private readonly nodes: OnnxNode[] = [];
  private readonly initializers: Initializer[];
  /** Names of values. */
  private readonly names = new Map<Value, string>();
  private readonly constants = new Map<string, string>();
  /** Names of the expressions that operands have been. */
  private readonly computed = new Map<Call, string>();
  /** ONNX keeps the names of values and those of nodes apart. */
  private readonly usedValues = new Names();
  private readonly usedNodes = new Names();

  constructor(
    private readonly graph: Graph,
    private readonly surroundings: { readonly input: string; readonly batch: number | undefined },
  ) {
    // These names are the caller's: they are taken first, and everything else makes way.
    for (const { name, value } of [...graph.inputs, ...graph.parameters]) this.names.set(value, this.usedValues.take(name));
    for (const { name } of graph.outputs) this.usedValues.take(name);
    this.initializers = graph.parameters.map(({ name, value }) => ({ name, shape: value.shape }));
  }

  run(): { readonly nodes: readonly OnnxNode[]; readonly initializers: readonly Initializer[] } {
    const outputs = new Map(this.graph.outputs.toReversed().map(({ name, value }) => [value, name]));
    for (const node of this.graph.nodes) {
      const expression = translate(node, node.inputs.map((value) => this.names.get(value)!), this.surroundings);
      const output = outputs.get(node.output) ?? this.usedValues.take(node.name, node.op);
      if ("constant" in expression) this.initializers.push({ name: output, shape: expression.shape, data: expression.constant });
      else {
        const name = this.usedNodes.take(node.name, node.op);
        this.emit(expression, { root: name, name, output });
      }
      this.names.set(node.output, output);
    }
    // A value has one name, and may be several outputs, or be an input that is an output too.
    for (const { name, value } of this.graph.outputs) {
      const computed = this.names.get(value)!;
      if (computed !== name) this.nodes.push({ name: this.usedNodes.take(name, "Identity"), op: "Identity", inputs: [computed], output: name, attributes: {} });
    }
    return { nodes: this.nodes, initializers: this.initializers };
  }

  /** Appends the nodes of an expression, innermost first. Those inside are called after the outermost one, `root`. */
  private emit({ op, operands, attributes }: Call, { root, name, output }: { readonly root: string; readonly name: string; readonly output: string }): void {
    const inputs = operands.map((operand) => this.operand(operand, root));
    this.nodes.push({ name, op, inputs, output, attributes });
  }

  private operand(operand: Operand, root: string): string {
    if (typeof operand === "string") return operand;
    if ("constant" in operand) return this.constant(operand);
    const known = this.computed.get(operand);
    if (known !== undefined) return known;
    const name = `${root}/${operand.op}`;
    const output = this.usedValues.take(name);
    this.emit(operand, { root, name: this.usedNodes.take(name), output });
    this.computed.set(operand, output);
    return output;
  }

  /** Equal constants are stored once. */
  private constant({ constant, shape, name: given }: Constant): string {
    const type = constant instanceof BigInt64Array ? "int64" : "float";
    const key = given ?? `${type} ${shape.join()} ${constant.join()}`;
    let name = this.constants.get(key);
    if (name === undefined) {
      name = this.usedValues.take(given ?? `${shape.length === 0 ? "scalar" : "vector"}.${type}.${constant.join("_")}`);
      this.constants.set(key, name);
      this.initializers.push({ name, shape, data: constant });
    }
    return name;
  }
}

/** Names that are given once each. */
class Names {
  private readonly taken = new Set<string>();

  /** The name itself; if it is taken, the name with `/what` behind it, or else with a number. */
  take(name: string, what?: string): string {
    const candidates = what === undefined ? [name] : [name, `${name}/${what}`];
    const root = candidates.at(-1)!;
    let free = candidates.find((candidate) => !this.taken.has(candidate));
    for (let n = 2; free === undefined; n++) if (!this.taken.has(`${root}_${n}`)) free = `${root}_${n}`;
    this.taken.add(free);
    return free;
  }
}

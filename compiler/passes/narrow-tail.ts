import type { Graph, Node, NodeOf, Value } from "../ir/graph.js";
import { last, sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass, type PassLog, type Rewriter } from "./pass.js";

/** token(norm(x)) -> norm(token(x)), when only single tokens of the norm are read. */
export const narrowNorm: Pass = {
  name: "narrow-norm",
  why: "The head reads single tokens, so the last norm need not touch the others.",
  run(graph, log) {
    const picks = new Map<Value, Map<number, Value>>();
    return rewrite(graph, (node, { producer, readers, isOutput, emit }) => {
      if (node.op !== "token") return undefined;
      const norm = producer(node.inputs[0], "layerNorm") ?? producer(node.inputs[0], "rmsNorm");
      if (!norm || isOutput(norm.output) || readers(norm.output).some((reader) => reader.op !== "token")) {
        log(node.name, false, norm ? `all tokens of ${norm.name} are returned or read` : "its input is not a norm");
        return undefined;
      }
      const { index } = node.attrs;
      log(node.name, true, `${norm.name} computed for token ${index} alone`);
      const [x, ...affine] = norm.inputs as [Value, ...Value[]];
      const known = picks.get(norm.output) ?? new Map<number, Value>();
      picks.set(norm.output, known);
      const narrowed = known.get(index) ?? emit(norm.op, norm.attrs, [emit("token", { index }, [x], node.name), ...affine], norm.name, [norm]);
      known.set(index, narrowed);
      return narrowed;
    });
  },
};

/**
 * Where single tokens are all that is read, all that comes before them is computed for these tokens alone, up to the attention that mixes
 * tokens: it then has their queries, and the keys and values of all.
 */
export const narrowTail: Pass = {
  name: "narrow-tail",
  why: "Behind its keys and values the last block works for the tokens that a head reads, and for no others.",
  run(graph, log) {
    const range = readTokens(graph);
    if (!range) return graph;
    const narrow = narrowValues(graph, range, log);
    if (narrow.size === 0) return graph;
    const tail = new Tail(graph, range, narrow);
    return rewrite(graph, (node, rewriter) => {
      if (narrow.has(node.output)) {
        log(node.name, true, node.op === "attention" ? `queries of ${range.text} alone, keys and values of all tokens` : `computed for ${range.text} alone`);
        return node.op === "attention" ? tail.attention(node, rewriter) : tail.rows(node, rewriter);
      }
      return node.op === "token" ? tail.pick(node, rewriter) : undefined;
    });
  },
};

/** The tokens that a tail keeps: one, or a run of them. */
interface TokenRange {
  readonly start: number;
  readonly end: number;
  /** For the log. */
  readonly text: string;
}

/** The shortest run of tokens with all that the graph picks. */
function readTokens(graph: Graph): TokenRange | undefined {
  const indices = graph.nodes.flatMap((node) => (node.op === "token" ? [node.attrs.index] : []));
  if (indices.length === 0) return undefined;
  const [start, end] = [Math.min(...indices), Math.max(...indices) + 1];
  return { start, end, text: end - start === 1 ? `token ${start}` : `tokens ${start} to ${end - 1}` };
}

/** Values of which nothing but tokens of the range is read, and whose nodes can compute these alone. */
function narrowValues(graph: Graph, range: TokenRange, log: PassLog): ReadonlySet<Value> {
  const producers = new Map(graph.nodes.map((node) => [node.output, node]));
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  const readers = new Map<Value, Node[]>();
  for (const node of graph.nodes) for (const input of new Set(node.inputs)) readers.set(input, [...(readers.get(input) ?? []), node]);
  const narrow = new Set<Value>();
  const readNarrowly = (value: Value): boolean =>
    !outputs.has(value) && (readers.get(value) ?? []).every((reader) => reader.op === "token" || (narrow.has(reader.output) && reader.op !== "attention"));
  const splits = (node: NodeOf<"attention">): boolean => {
    const qkv = producers.get(node.inputs[0]!);
    return node.inputs.length === 1 && qkv?.op === "gemm" && isRowwise(qkv) && !qkv.attrs.residual && qkv.attrs.activation === "none" && readers.get(qkv.output)!.length === 1 && !outputs.has(qkv.output);
  };
  for (const node of graph.nodes.toReversed()) {
    const [, tokens, ...rest] = node.output.shape;
    if (rest.length !== 1 || tokens! <= range.end - range.start || !readNarrowly(node.output)) continue;
    if (node.op === "attention" ? splits(node) : isRowwise(node)) narrow.add(node.output);
  }
  for (const node of graph.nodes)
    if (node.op === "token" && !narrow.has(node.inputs[0]!)) log(node.name, false, `all tokens of ${producers.get(node.inputs[0]!)?.name ?? "its input"} are returned or read`);
  return narrow;
}

/** Whether each token of a node's result depends on the same token of its inputs, and on weights. */
function isRowwise(node: Node): boolean {
  switch (node.op) {
    case "gemm":
      return node.attrs.source.kind === "rows" && !node.attrs.table;
    case "layerNorm":
    case "rmsNorm":
    case "gated":
    case "activation":
    case "scale":
    case "scaleLast":
      return true;
    case "add":
    case "addScale":
    case "multiply":
      return sameShape(node.inputs[0]!.shape, node.inputs[1]!.shape);
    default:
      return false;
  }
}

/** Indices of the inputs that have a row for each token. */
function rowInputs(node: Node): readonly number[] {
  if (node.op === "gemm") return node.attrs.residual ? [0, node.inputs.length - 1] : [0];
  return node.op === "add" || node.op === "addScale" || node.op === "multiply" ? [0, 1] : [0];
}

/** Makes the nodes of the tail. Narrow values are [batch, width] for one token, else [batch, tokens, width]. */
class Tail {
  private readonly copies = new Map<Value, Value>();
  private readonly given: ReadonlyMap<Value, Node>;
  private readonly picks: readonly Node[];

  constructor(
    graph: Graph,
    private readonly range: TokenRange,
    private readonly narrow: ReadonlySet<Value>,
  ) {
    this.given = new Map(graph.nodes.map((node) => [node.output, node]));
    this.picks = graph.nodes.filter((node) => node.op === "token" && narrow.has(node.inputs[0]!));
  }

  /** A node whose rows are each computed from their own. */
  rows(node: Node, rewriter: Rewriter): Value {
    const before = this.given.get(node.output)!;
    const rows = rowInputs(node);
    return rewriter.emitWith(node, node.inputs.map((input, i) => (!rows.includes(i) || this.narrow.has(before.inputs[i]!) ? input : this.narrowed(input, node, rewriter))));
  }

  /** Queries of the range, keys and values of all: each a product with its own rows of the packed weight. */
  attention(node: NodeOf<"attention">, rewriter: Rewriter): Value {
    const { producer, emit } = rewriter;
    const qkv = producer(node.inputs[0], "gemm")!;
    const [x, weight, ...bias] = qkv.inputs as [Value, Value, ...Value[]];
    const width = last(node.output.shape);
    const product = (part: string, rows: Value, start: number, end: number): Value => {
      const name = qkv.name.endsWith("qkv") ? qkv.name.replace(/qkv$/, part) : `${qkv.name}.${part}`;
      const cut = (value: Value, which: string) => emit("sliceRows", { start, end }, [value], `${name}.${which}`);
      return emit("gemm", qkv.attrs, [rows, cut(weight, "weight"), ...bias.map((value) => cut(value, "bias"))], name, [qkv]);
    };
    const own = this.narrowed(x, node, rewriter);
    const keysAndValues = product("kv", x, width, 3 * width);
    const queries = product("q", own, 0, width);
    return emit("attention", node.attrs, [queries, keysAndValues], node.name);
  }

  /** A token of the range, of a value that the tail computes. */
  pick(node: NodeOf<"token">, { emit }: Rewriter): Value | undefined {
    if (!this.picks.some(({ output }) => output === node.output)) return undefined;
    const { start, end } = this.range;
    return end - start === 1 ? node.inputs[0]! : emit("token", { index: node.attrs.index - start }, node.inputs, node.name);
  }

  /** The range of a value that has all tokens: one copy for all who read it. A norm is computed anew, for products can take it in. */
  private narrowed(value: Value, reader: Node, rewriter: Rewriter): Value {
    const known = this.copies.get(value);
    if (known) return known;
    const norm = rewriter.producer(value, "layerNorm") ?? rewriter.producer(value, "rmsNorm");
    const copy = norm ? rewriter.emitWith(norm, [this.narrowed(norm.inputs[0]!, reader, rewriter), ...norm.inputs.slice(1)]) : this.copied(value, reader, rewriter);
    this.copies.set(value, copy);
    return copy;
  }

  private copied(value: Value, { name }: Node, { emit }: Rewriter): Value {
    const { start, end } = this.range;
    const label = name.includes(".") ? name.replace(/[^.]*$/, "token") : "token";
    return end - start === 1 ? emit("token", { index: start }, [value], label, this.picks) : emit("sliceTokens", { start, end }, [value], label, this.picks);
  }
}

import type { Node, NodeOf, Value } from "../ir/graph.js";
import { last } from "../ir/ops/op.js";
import { rewrite, type Pass, type Rewriter } from "./pass.js";

/** activation(gate) * value -> gated, of one product that makes both. */
export const packGates: Pass = {
  name: "pack-gates",
  why: "Gate and value of a gated MLP read the same rows: one product makes both, and one small kernel joins them.",
  run: (graph, log) =>
    rewrite(graph, (node, rewriter) => {
      if (node.op !== "multiply") return undefined;
      const { producer, uses, emit } = rewriter;
      const activation = producer(node.inputs[0], "activation");
      if (!activation || uses(activation.output) !== 1) return undefined;
      const attrs = { activation: activation.attrs.kind, gateFirst: true };
      const [gate, value] = [activation.inputs[0]!, node.inputs[1]!];
      const halves = packedHalves(gate, value, rewriter);
      if (halves) {
        log(node.name, true, "two halves of one product");
        return emit("gated", { ...attrs, gateFirst: halves.gateFirst }, [halves.packed], node.name, [...halves.slices, activation, node]);
      }
      const products = [gate, value].map((of) => (uses(of) === 1 ? producer(of, "linear") : undefined));
      const [a, b] = products;
      if (!a || !b || a.inputs[0] !== b.inputs[0] || a.inputs.length !== b.inputs.length) {
        log(node.name, false, "gate and value are not products of the same rows, read here alone");
        return undefined;
      }
      const name = a.name.replace(/_g$/, "");
      const joined = a.inputs.slice(1).map((weight, i) => emit("concatRows", {}, [weight, b.inputs[i + 1]!], `${name}.${i === 0 ? "weight" : "bias"}`));
      const packed = emit("linear", {}, [a.inputs[0]!, ...joined], name, [a, b]);
      log(node.name, true, `${a.name} and ${b.name} in one product`);
      return emit("gated", attrs, [packed], node.name, [activation, node]);
    }),
};

/** The value whose two halves gate and value are, if they are. */
function packedHalves(gate: Value, value: Value, { producer, uses }: Rewriter): { readonly packed: Value; readonly gateFirst: boolean; readonly slices: readonly Node[] } | undefined {
  const slices = [gate, value].map((of) => (uses(of) === 1 ? producer(of, "sliceLast") : undefined));
  const [a, b] = slices as [NodeOf<"sliceLast"> | undefined, NodeOf<"sliceLast"> | undefined];
  if (!a || !b || a.inputs[0] !== b.inputs[0]) return undefined;
  const packed = a.inputs[0]!;
  const half = last(packed.shape) / 2;
  const covers = (slice: NodeOf<"sliceLast">, first: boolean): boolean => slice.attrs.start === (first ? 0 : half) && slice.attrs.end === (first ? half : 2 * half);
  if (covers(a, true) && covers(b, false)) return { packed, gateFirst: true, slices: [a, b] };
  return covers(a, false) && covers(b, true) ? { packed, gateFirst: false, slices: [a, b] } : undefined;
}

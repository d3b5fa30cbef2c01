import type { Node, NodeOf, Value } from "../ir/graph.js";
import { rewrite, type Pass, type Rewriter } from "./pass.js";

/** gemm(layerNorm(x)) -> gemm that normalises its rows, with the norm's scale and shift in its weights. */
export const foldNorm: Pass = {
  name: "fold-norm",
  why: "With scale and shift in the weights, and each output's weights centred, a norm is one factor a row, which the product applies as it ends.",
  run: (graph, log) =>
    rewrite(graph, (node, rewriter) => {
      if (node.op === "layerNorm") {
        const reason = unfolded(node, rewriter);
        const readers = rewriter.readers(node.output).map(({ name }) => name);
        log(node.name, reason === undefined, reason ?? `folded into the weights of ${readers.join(", ")}`);
      }
      if (node.op !== "gemm") return undefined;
      const { producer, emit } = rewriter;
      const norm = producer(node.inputs[0], "layerNorm");
      if (!norm || unfolded(norm, rewriter) !== undefined) return undefined;
      const [x, gamma, beta] = norm.inputs as [Value, Value, Value];
      const [, weight, ...rest] = node.inputs as [Value, Value, ...Value[]];
      const [bias, behind] = node.attrs.bias ? [rest.slice(0, 1), rest.slice(1)] : [[], rest];
      const folded = emit("foldNormScale", { centre: true }, [weight, gamma], `${node.name}.weight`);
      const shift = emit("foldNormShift", {}, [weight, beta, ...bias], `${node.name}.bias`);
      return emit("gemm", { ...node.attrs, bias: true, norm: { eps: norm.attrs.eps } }, [x, folded, shift, ...behind], node.name, [norm, node]);
    }),
};

/** Why a norm stays a kernel of its own, or undefined if all who read it can take it. */
function unfolded(norm: NodeOf<"layerNorm">, { isOutput, readers, isWeight }: Rewriter): string | undefined {
  if (!norm.inputs.slice(1).every(isWeight)) return "its scale and shift are not made of parameters alone";
  if (isOutput(norm.output)) return "it is an output";
  const other = readers(norm.output).find((reader) => !takesNorm(reader, norm.output, isWeight));
  return other && `${other.name} reads it, which is no matrix product of its rows`;
}

const takesNorm = (node: Node, value: Value, isWeight: (value: Value) => boolean): boolean =>
  node.op === "gemm" && node.attrs.source.kind === "rows" && !node.attrs.norm && node.inputs.lastIndexOf(value) === 0 && isWeight(node.inputs[1]!);

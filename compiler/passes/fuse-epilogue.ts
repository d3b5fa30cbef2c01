import type { NodeOf } from "../ir/graph.js";
import { sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass } from "./pass.js";

/** activation(gemm) -> gemm with the activation in its epilogue. */
export const fuseActivation: Pass = {
  name: "fuse-activation",
  why: "The activation of a value still in a register costs no trip to memory.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "activation") return undefined;
      const gemm = producer(node.inputs[0], "gemm");
      if (!gemm || uses(gemm.output) !== 1 || gemm.attrs.activation !== "none" || gemm.attrs.residual || gemm.attrs.table) {
        log(node.name, false, gemm ? declined(gemm, uses(gemm.output)) : "its input is not a matrix product");
        return undefined;
      }
      log(node.name, true, `${node.attrs.kind} in the epilogue of ${gemm.name}`);
      return emit("gemm", { ...gemm.attrs, activation: node.attrs.kind }, gemm.inputs, gemm.name, [gemm, node]);
    }),
};

/** x + gemm -> gemm with the residual added in its epilogue. */
export const fuseResidual: Pass = {
  name: "fuse-residual",
  why: "The residual stream is updated where it lies, by the matrix product that computes the branch.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "add") return undefined;
      const [x, branch] = node.inputs as [(typeof node.inputs)[0], (typeof node.inputs)[0]];
      if (!sameShape(x.shape, branch.shape)) return undefined;
      const gemm = producer(branch, "gemm");
      if (!gemm || uses(branch) !== 1 || gemm.attrs.residual || gemm.attrs.table || x === branch) {
        log(node.name, false, gemm ? declined(gemm, uses(branch)) : "what is added is not a matrix product");
        return undefined;
      }
      log(node.name, true, `added in the epilogue of ${gemm.name}`);
      return emit("gemm", { ...gemm.attrs, residual: true }, [...gemm.inputs, x], gemm.name, [gemm, node]);
    }),
};

/** Why a product takes nothing more into its epilogue. */
function declined({ name, attrs }: NodeOf<"gemm">, uses: number): string {
  if (uses !== 1) return `the result of ${name} is also read elsewhere`;
  return `${name} already ends in ${attrs.residual ? "a residual" : attrs.table ? "a table" : attrs.activation}`;
}

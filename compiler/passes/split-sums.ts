import type { Value } from "../ir/graph.js";
import { sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass } from "./pass.js";

/** x + scale(a + b) -> (x + scale(a)) + scale(b), for products a and b. */
export const splitSums: Pass = {
  name: "split-sums",
  why: "Two branches that are added to each other first (a parallel block's) can each be added to the residual stream by the product that ends it.",
  run(graph, log) {
    // Factors first: behind them there is a sum again, which the second rewrite sees.
    const scaled = rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "scaleLast") return undefined;
      const sum = producer(node.inputs[0], "add");
      if (!sum || uses(sum.output) !== 1 || !sum.inputs.every((input) => producer(input, "gemm"))) return undefined;
      const [a, b] = sum.inputs.map((input) => emit("scaleLast", {}, [input, node.inputs[1]!], node.name)) as [Value, Value];
      return emit("add", {}, [a, b], sum.name, [sum, node]);
    });
    return rewrite(scaled, (node, { producer, uses, isWeight, emit }) => {
      if (node.op !== "add") return undefined;
      const [x, branch] = node.inputs as [Value, Value];
      const sum = producer(branch, "add");
      if (!sum || uses(branch) !== 1 || isWeight(x) || !sameShape(x.shape, branch.shape) || !sum.inputs.every((input) => producer(input, "gemm") ?? producer(input, "scaleLast"))) return undefined;
      log(node.name, true, `the two parts of ${sum.name} are added one after the other`);
      const [a, b] = sum.inputs as [Value, Value];
      return emit("add", {}, [emit("add", {}, [x, a], sum.name, [sum]), b], node.name);
    });
  },
};

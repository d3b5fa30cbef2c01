import { sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass } from "./pass.js";

/** reduce(sliceTokens(x)) -> one pooling kernel that skips the prefix. */
export const fusePool: Pass = {
  name: "fuse-pool",
  why: "Pooling over patches starts behind the prefix tokens; no copy without them is made.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, emit }) => {
      if (node.op !== "reduce") return undefined;
      const slice = producer(node.inputs[0], "sliceTokens");
      const reachesEnd = slice && slice.attrs.end === slice.inputs[0]!.shape[1];
      const [x, start] = reachesEnd ? [slice.inputs[0]!, slice.attrs.start] : [node.inputs[0]!, 0];
      log(node.name, true, `${node.attrs.kind} from token ${start} on`);
      return emit("poolTokens", { kind: node.attrs.kind, start }, [x], node.name, reachesEnd ? [slice, node] : [node]);
    }),
};

/** scale(a + b) -> addScale. */
export const fuseMean: Pass = {
  name: "fuse-mean",
  why: "The mean of two heads is one small kernel.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "scale") return undefined;
      const sum = producer(node.inputs[0], "add");
      if (!sum || uses(sum.output) !== 1 || !sameShape(sum.inputs[0]!.shape, sum.inputs[1]!.shape)) return undefined;
      log(node.name, true, `sum and factor ${node.attrs.factor} together`);
      return emit("addScale", node.attrs, sum.inputs, node.name, [sum, node]);
    }),
};

/** a + b that nothing absorbed -> addScale by 1. */
export const lowerSums: Pass = {
  name: "lower-sums",
  why: "A sum that no matrix product could take into its epilogue is a kernel of its own.",
  run: (graph, log) =>
    rewrite(graph, (node, { emit }) => {
      if (node.op !== "add" || !sameShape(node.inputs[0]!.shape, node.inputs[1]!.shape)) return undefined;
      log(node.name, true, "a kernel of its own");
      return emit("addScale", { factor: 1 }, node.inputs, node.name);
    }),
};

/** layerNorm(token(x)) -> tokenNorm, where no product took the norm. */
export const fuseTokenNorm: Pass = {
  name: "fuse-token-norm",
  why: "The norm of one token reads it where it lies.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "layerNorm") return undefined;
      const picked = producer(node.inputs[0], "token");
      if (!picked) return undefined;
      if (uses(picked.output) !== 1) {
        log(node.name, false, `the result of ${picked.name} is also read elsewhere`);
        return undefined;
      }
      log(node.name, true, `token ${picked.attrs.index} picked while it is normalised`);
      return emit("tokenNorm", { index: picked.attrs.index, eps: node.attrs.eps }, [picked.inputs[0]!, ...node.inputs.slice(1)], node.name, [picked, node]);
    }),
};

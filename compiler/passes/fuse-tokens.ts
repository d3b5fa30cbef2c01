import { sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass } from "./pass.js";

/** Pooling of patches -> one kernel that skips the prefix: reduce(sliceTokens(x)), the mean of two such, or one beside the class token. */
export const fusePool: Pass = {
  name: "fuse-pool",
  why: "Pooling over patches starts behind the prefix tokens; no copy without them is made.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op === "reduce") {
        const slice = producer(node.inputs[0], "sliceTokens");
        const reachesEnd = slice && slice.attrs.end === slice.inputs[0]!.shape[1];
        const [x, start] = reachesEnd ? [slice.inputs[0]!, slice.attrs.start] : [node.inputs[0]!, 0];
        log(node.name, true, `${node.attrs.kind} from token ${start} on`);
        return emit("poolTokens", { kind: node.attrs.kind, start }, [x], node.name, reachesEnd ? [slice, node] : [node]);
      }
      if (node.op === "addScale" && node.attrs.factor === 0.5) {
        const [avg, max] = node.inputs.map((input) => producer(input, "poolTokens"));
        if (avg?.attrs.kind !== "avg" || max?.attrs.kind !== "max" || avg.inputs[0] !== max.inputs[0] || avg.attrs.start !== max.attrs.start || [avg, max].some(({ output }) => uses(output) !== 1)) return undefined;
        log(node.name, true, "mean and maximum in one kernel");
        return emit("poolTokens", { kind: "avgmax", start: avg.attrs.start }, [avg.inputs[0]!], node.name, [avg, max, node]);
      }
      if (node.op === "concat" && node.attrs.axis === 1 && node.inputs.length === 2) {
        const [token, avg] = [producer(node.inputs[0], "token"), producer(node.inputs[1], "poolTokens")];
        if (token?.attrs.index !== 0 || avg?.attrs.kind !== "avg" || token.inputs[0] !== avg.inputs[0] || uses(avg.output) !== 1) return undefined;
        log(node.name, true, "the class token and the mean in one kernel");
        return emit("poolTokens", { kind: "tokenavg", start: avg.attrs.start }, [avg.inputs[0]!], node.name, [token, avg, node]);
      }
      return undefined;
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

/** norm(token(x)) -> tokenNorm, where no product took the norm. */
export const fuseTokenNorm: Pass = {
  name: "fuse-token-norm",
  why: "The norm of one token reads it where it lies.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "layerNorm" && node.op !== "rmsNorm") return undefined;
      const picked = producer(node.inputs[0], "token");
      if (!picked) return undefined;
      if (uses(picked.output) !== 1) {
        log(node.name, false, `the result of ${picked.name} is also read elsewhere`);
        return undefined;
      }
      log(node.name, true, `token ${picked.attrs.index} picked while it is normalised`);
      return emit("tokenNorm", { kind: node.op === "layerNorm" ? "layer" : "rms", index: picked.attrs.index, eps: node.attrs.eps }, [picked.inputs[0]!, ...node.inputs.slice(1)], node.name, [picked, node]);
    }),
};

import { rewrite, type Pass } from "./pass.js";

/** split, scale, q kᵀ, softmax, weighted sum, merge -> one attention on the packed projection. */
export const fuseAttention: Pass = {
  name: "fuse-attention",
  why: "Scores of all tokens with all tokens never reach memory, and q, k, v are read in place from the packed projection.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "mergeHeads") return undefined;
      const mix = producer(node.inputs[0], "matmul");
      const softmax = producer(mix?.inputs[0], "softmax");
      const scores = producer(softmax?.inputs[0], "matmul");
      const scale = producer(scores?.inputs[0], "scale");
      const parts = [scale?.inputs[0], scores?.inputs[1], mix?.inputs[1]].map((value) => producer(value, "splitHeads"));
      const qkv = parts[0]?.inputs[0];
      const products = scores?.attrs.transposeB === true && mix?.attrs.transposeB === false;
      const matches = products && scale && qkv && parts.every((part, i) => part?.attrs.part === i && (part.attrs.parts ?? 3) === 3 && part.inputs[0] === qkv);
      if (!matches || [mix, softmax, scores].some((n) => uses(n!.output) !== 1)) {
        log(node.name, false, "not the pattern softmax(scale q kᵀ) v on one packed projection, or something inside is read elsewhere");
        return undefined;
      }
      const name = node.name.replace(/\.merge$/, "");
      log(name, true, "scores, softmax and weighted sum in one kernel");
      return emit("attention", { heads: parts[0]!.attrs.heads, scale: scale.attrs.factor }, [qkv], name, [parts[0]!, scale, parts[1]!, scores!, softmax!, parts[2]!, mix!, node]);
    }),
};

import { sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass } from "./pass.js";

/** Prefix tokens and positions around the patches -> one embed. */
export const fuseEmbed: Pass = {
  name: "fuse-embed",
  why: "Prefix tokens, patches and positions are put together in one pass over the tokens.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op === "concat" && node.attrs.axis === 1) {
        const prefix = node.inputs.slice(0, -1).map((value) => producer(value, "expand")?.inputs[0]);
        const patches = node.inputs[node.inputs.length - 1]!;
        if (prefix.some((value) => value === undefined)) return undefined;
        const placed = producer(patches, "embed");
        const absorbs = placed?.attrs.prefix === 0 && uses(patches) === 1;
        const tokens = prefix.filter((value) => value !== undefined);
        log(node.name, true, `${tokens.length} prefix tokens in front of the patches`);
        return absorbs
          ? emit("embed", { prefix: tokens.length, position: "patches" }, [placed.inputs[0]!, ...tokens, placed.inputs[1]!], node.name)
          : emit("embed", { prefix: tokens.length, position: "none" }, [patches, ...tokens], node.name);
      }
      if (node.op === "add" && producer(node.inputs[1], "gemm") === undefined) {
        const [x, table] = node.inputs as [(typeof node.inputs)[0], (typeof node.inputs)[0]];
        // One table for all images, with a row for each token.
        if (x.shape.length !== 3 || !sameShape(table.shape, [1, ...x.shape.slice(1)])) return undefined;
        const tokens = producer(x, "embed");
        log(node.name, true, "positions added while the tokens are put together");
        return tokens?.attrs.position === "none" && uses(x) === 1
          ? emit("embed", { prefix: tokens.attrs.prefix, position: "all" }, [...tokens.inputs, table], tokens.name)
          : emit("embed", { prefix: 0, position: "all" }, [x, table], "embed");
      }
      return undefined;
    }),
};

/** token(layerNorm(x)) -> the norm of that token alone, when only single tokens of it are read. */
export const narrowNorm: Pass = {
  name: "narrow-norm",
  why: "The head reads one token, so the last norm need not touch the others.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, readers, isOutput, emit }) => {
      if (node.op !== "token") return undefined;
      const norm = producer(node.inputs[0], "layerNorm");
      if (!norm || isOutput(norm.output) || readers(norm.output).some((reader) => reader.op !== "token")) {
        log(node.name, false, norm ? `all tokens of ${norm.name} are returned or read` : "its input is not a norm");
        return undefined;
      }
      log(node.name, true, `${norm.name} computed for token ${node.attrs.index} alone`);
      return emit("tokenNorm", { index: node.attrs.index, eps: norm.attrs.eps }, norm.inputs, norm.name);
    }),
};

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
      return emit("poolTokens", { kind: node.attrs.kind, start }, [x], node.name);
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
      return emit("addScale", node.attrs, sum.inputs, node.name);
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

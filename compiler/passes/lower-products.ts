import { rewrite, type Pass } from "./pass.js";

/**
 * Every linear layer and convolution becomes a gemm. Convolutions write tokens [batch, height * width, channels] (the layout of a matrix
 * product's rows), so maps between them disappear: a tokensToMap is put behind each, and taken back by whoever reads it.
 */
export const lowerProducts: Pass = {
  name: "lower-products",
  why: "A convolution is a matrix product whose rows are windows of the image, so one kernel archetype serves both, and what follows can fuse into it.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, emit }) => {
      const [x, weight, bias] = node.inputs;
      const operands = bias ? [weight!, bias] : [weight!];
      const plain = { bias: bias !== undefined, activation: "none", residual: false } as const;
      switch (node.op) {
        case "linear":
          return emit("gemm", { source: { kind: "rows" }, ...plain }, [x!, ...operands], node.name);
        case "conv2d": {
          const map = producer(x, "tokensToMap");
          const source = map ? ({ kind: "map", ...map.attrs, ...node.attrs } as const) : ({ kind: "image", ...node.attrs } as const);
          log(node.name, true, `convolution reads ${map ? "tokens" : "the image"} through a window loader`);
          const rows = emit("gemm", { source, ...plain }, [map?.inputs[0] ?? x!, ...operands], node.name);
          return emit("tokensToMap", { height: node.output.shape[2]!, width: node.output.shape[3]! }, [rows], node.name);
        }
        case "activation": {
          // Elementwise, so it may move in front of the change of layout, where the gemm can absorb it.
          const map = producer(x, "tokensToMap");
          return map && emit("tokensToMap", map.attrs, [emit("activation", node.attrs, [map.inputs[0]!], node.name)], node.name);
        }
        case "mapToTokens":
          return producer(x, "tokensToMap")?.inputs[0];
        default:
          return undefined;
      }
    }),
};

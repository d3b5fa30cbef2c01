import type { Value } from "../ir/graph.js";
import { rewrite, type Pass } from "./pass.js";

/** conv2d(normalizeChannels(x)) -> conv2d(x), with mean and deviation in its weight and bias. */
export const foldPixels: Pass = {
  name: "fold-pixels",
  why: "Normalising pixels is a factor and a shift per channel, which a convolution that pads nothing can carry in its weights.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, emit }) => {
      if (node.op !== "conv2d") return undefined;
      const pixels = producer(node.inputs[0], "normalizeChannels");
      if (!pixels) return undefined;
      if (node.attrs.padding.some((side) => side > 0)) {
        log(pixels.name, false, `${node.name} pads with zeros behind the normalisation, which are other values before it`);
        return undefined;
      }
      const [, weight, ...bias] = node.inputs as [Value, Value, ...Value[]];
      const { mean, std } = pixels.attrs;
      const operands = [emit("foldPixelScale", { std }, [weight], `${node.name}.weight`), emit("foldPixelShift", { mean, std }, [weight, ...bias], `${node.name}.bias`)];
      log(pixels.name, true, `folded into the weights of ${node.name}`);
      return emit("conv2d", node.attrs, [pixels.inputs[0]!, ...operands], node.name, [pixels, node]);
    }),
};

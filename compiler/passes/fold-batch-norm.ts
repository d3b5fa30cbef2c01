import { rewrite, type Pass } from "./pass.js";

/** batchNorm(conv2d(x, w)) -> conv2d(x, w'), with w' and the new bias made by the weight recipe. */
export const foldBatchNorm: Pass = {
  name: "fold-batch-norm",
  why: "At inference a batch norm is a factor and a shift per channel, which the convolution before it can carry in its weights.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, emit }) => {
      if (node.op !== "batchNorm") return undefined;
      const conv = producer(node.inputs[0], "conv2d");
      const [, gamma, beta, mean, variance] = node.inputs as [unknown, ...typeof node.inputs];
      if (!conv || conv.inputs.length !== 2 || uses(conv.output) !== 1) {
        log(node.name, false, "its input is not a convolution without bias that only it reads");
        return undefined;
      }
      const weight = emit("foldBatchNormScale", node.attrs, [conv.inputs[1]!, gamma!, variance!], `${conv.name}.weight`);
      const bias = emit("foldBatchNormShift", node.attrs, [gamma!, beta!, mean!, variance!], `${conv.name}.bias`);
      log(node.name, true, `folded into the weights of ${conv.name}`);
      return emit("conv2d", conv.attrs, [conv.inputs[0]!, weight, bias], conv.name, [conv, node]);
    }),
};

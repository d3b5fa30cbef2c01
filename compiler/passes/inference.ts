import { rewrite, type Pass } from "./pass.js";

/** Removes dropout and DropPath: the identity outside training. */
export const inference: Pass = {
  name: "inference",
  why: "Dropout and DropPath are the identity when a model is used rather than trained.",
  run: (graph, log) =>
    rewrite(graph, (node) => {
      if (node.op !== "dropout" && node.op !== "dropPath") return undefined;
      log(node.name, true, `${node.op} at rate ${node.attrs.rate} removed`);
      return node.inputs[0];
    }),
};

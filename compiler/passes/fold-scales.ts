import type { NodeOf, Value } from "../ir/graph.js";
import { last } from "../ir/ops/op.js";
import { rewrite, type Pass, type Rewriter } from "./pass.js";

/** scaleLast(gemm) -> gemm with its outputs' factors in weight and bias. */
export const foldLayerScale: Pass = {
  name: "fold-layer-scale",
  why: "A factor for each channel of a product's result is a factor for each row of its weight, which the weight recipe applies once.",
  run: (graph, log) =>
    rewrite(graph, (node, rewriter) => {
      if (node.op !== "scaleLast") return undefined;
      const { producer, uses, isWeight, emit } = rewriter;
      const [x, gamma] = node.inputs as [Value, Value];
      const gemm = producer(x, "gemm");
      if (!gemm || uses(x) !== 1 || !endsPlain(gemm) || !isWeight(gamma)) {
        log(node.name, false, "its input is not a matrix product that only it reads and that ends in its bias");
        return undefined;
      }
      log(node.name, true, `folded into the weights of ${gemm.name}`);
      return emit("gemm", gemm.attrs, scaled(gemm, (value, name) => emit("scaleChannels", {}, [value, gamma], name)), gemm.name, [gemm, node]);
    }),
};

/** attention of a product, with a scale -> the scale in those rows of weight and bias that make the queries. */
export const foldSoftmaxScale: Pass = {
  name: "fold-softmax-scale",
  why: "The factor on the scores is a factor on the queries, which their weights can carry.",
  run(graph, log) {
    // An attention and its map read one product.
    const products = new Map<Value, Value>();
    return rewrite(graph, (node, { producer, readers, isOutput, emit }) => {
      if ((node.op !== "attention" && node.op !== "attentionMap") || node.attrs.scale === 1) return undefined;
      const { scale } = node.attrs;
      const [queries, ...rest] = node.inputs as [Value, ...Value[]];
      const gemm = producer(queries, "gemm");
      const alone = !isOutput(queries) && readers(queries).every((reader) => (reader.op === "attention" || reader.op === "attentionMap") && reader.inputs[0] === queries && reader.attrs.scale === scale);
      if (!gemm || !alone || !endsPlain(gemm)) {
        log(node.name, false, "its queries are not a matrix product that only it reads and that ends in its bias");
        return undefined;
      }
      const rows = { start: 0, end: node.op === "attention" ? last(node.output.shape) : last(queries.shape) / 3, factor: scale };
      const product = products.get(queries) ?? emit("gemm", gemm.attrs, scaled(gemm, (value, name) => emit("scaleRows", rows, [value], name)), gemm.name, [gemm]);
      log(node.name, true, `factor ${scale} folded into the weights of ${gemm.name}`);
      products.set(queries, product);
      return node.op === "attention" ? emit("attention", { ...node.attrs, scale: 1 }, [product, ...rest], node.name) : emit("attentionMap", { ...node.attrs, scale: 1 }, [product, ...rest], node.name);
    });
  },
};

/** Whether nothing stands between a product with its bias and whoever reads it. */
const endsPlain = ({ attrs }: NodeOf<"gemm">): boolean => attrs.activation === "none" && !attrs.residual && !attrs.table;

/** The inputs of a product that ends plainly, with weight and bias changed. */
function scaled({ name, inputs }: NodeOf<"gemm">, change: (value: Value, name: string) => ReturnType<Rewriter["emit"]>): Value[] {
  const [x, weight, bias] = inputs;
  return [x!, change(weight!, `${name}.weight`), ...(bias ? [change(bias, `${name}.bias`)] : [])];
}

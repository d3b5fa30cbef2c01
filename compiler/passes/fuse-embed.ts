import type { NodeOf, Value } from "../ir/graph.js";
import type { GemmAttrs } from "../ir/ops/fused.js";
import { sameShape } from "../ir/ops/op.js";
import { rewrite, type Pass, type Rewriter } from "./pass.js";

/** Prefix tokens and positions around the patches -> one embed. */
export const fuseEmbed: Pass = {
  name: "fuse-embed",
  why: "Prefix tokens, patches and positions are put together in one pass over the tokens.",
  run: (graph, log) =>
    rewrite(graph, (node, { producer, uses, isWeight, emit }) => {
      if (node.op === "concat" && node.attrs.axis === 1) {
        const expanded = node.inputs.slice(0, -1).map((value) => producer(value, "expand"));
        const repeats = expanded.filter((repeat) => repeat !== undefined);
        const tokens = repeats.map((repeat) => repeat.inputs[0]!);
        const patches = node.inputs[node.inputs.length - 1]!;
        if (tokens.length < expanded.length || !tokens.every(isWeight)) return undefined;
        const placed = producer(patches, "embed");
        const absorbs = placed?.attrs.prefix === 0 && uses(patches) === 1;
        const prefix = tokens.reduce((sum, { shape }) => sum + shape[1]!, 0);
        log(node.name, true, `${prefix} prefix tokens in front of the patches`);
        return absorbs
          ? emit("embed", { prefix, position: "patches" }, [placed.inputs[0]!, ...tokens, placed.inputs[1]!], node.name, [placed, ...repeats, node])
          : emit("embed", { prefix, position: "none" }, [patches, ...tokens], node.name, [...repeats, node]);
      }
      if (node.op === "add") {
        const [x, table] = node.inputs as [Value, Value];
        // One table for all images, with a row for each token.
        if (x.shape.length !== 3 || !isWeight(table) || !sameShape(table.shape, [1, ...x.shape.slice(1)])) return undefined;
        const tokens = producer(x, "embed");
        log(node.name, true, "positions added while the tokens are put together");
        return tokens?.attrs.position === "none" && uses(x) === 1
          ? emit("embed", { prefix: tokens.attrs.prefix, position: "all" }, [...tokens.inputs, table], tokens.name, [tokens, node])
          : emit("embed", { prefix: 0, position: "all" }, [x, table], "embed");
      }
      return undefined;
    }),
};

/** embed(patch product) -> a product with a table of all that is added to it, which a weight recipe makes. */
export const foldEmbed: Pass = {
  name: "fold-embed",
  why: "Prefix tokens, positions and the projection's bias are the same for every image: one table, which the product of the patches adds as it ends.",
  run: (graph, log) =>
    rewrite(graph, (node, rewriter) => {
      if (node.op !== "embed") return undefined;
      const { producer, uses, emit } = rewriter;
      const gemm = producer(node.inputs[0], "gemm");
      const reason = !gemm ? "its patches are not a matrix product" : uses(gemm.output) !== 1 ? `the result of ${gemm.name} is also read elsewhere` : unfit(gemm, node, rewriter);
      if (!gemm || reason !== undefined) {
        log(node.name, false, reason!);
        return undefined;
      }
      const { prefix, position } = node.attrs;
      const { bias, source } = gemm.attrs;
      const rows = gemm.output.shape[1]!;
      const inputs = [...node.inputs.slice(1), ...(bias ? [gemm.inputs[2]!] : [])];
      const table = emit("tokenTable", { prefix, patches: rows, positions: position, bias }, inputs, `${node.name}.table`);
      log(node.name, true, `a table behind ${gemm.name}: ${[prefix > 0 && `${prefix} prefix tokens`, position !== "none" && "positions", bias && "bias"].filter((part) => part !== false).join(", ")}`);
      const attrs: GemmAttrs = { ...gemm.attrs, source: prefix > 0 && source.kind !== "rows" ? { ...source, prefix } : source, bias: false, table: true };
      return emit("gemm", attrs, [gemm.inputs[0]!, gemm.inputs[1]!, table], gemm.name, [gemm, node]);
    }),
};

/** Why a product cannot end in the table of an embed, if it cannot. */
function unfit({ name, attrs }: NodeOf<"gemm">, embed: NodeOf<"embed">, { isWeight }: Rewriter): string | undefined {
  const { source, activation, residual, table } = attrs;
  if (source.kind === "rows") return `${name} is no product of windows`;
  if (activation !== "none" || residual || table || source.prefix) return `${name} already ends in ${residual ? "a residual" : table ? "a table" : activation}`;
  return embed.inputs.slice(1).every(isWeight) ? undefined : "what it adds is not made of parameters alone";
}

/** The passes around tokens, pooling and heads on small graphs: what they make of them, and what they leave alone. */
import * as assert from "uvu/assert";
import type { GraphBuilder, Graph, Value } from "../../compiler/ir/graph.js";
import { foldEmbed, fuseEmbed } from "../../compiler/passes/fuse-embed.js";
import { fuseMean, fusePool, lowerSums } from "../../compiler/passes/fuse-tokens.js";
import { runPasses } from "../../compiler/passes/index.js";
import { distance, passTolerance } from "../tools/distance.js";
import { expectDeclined, expectRewrite, graph, product } from "../tools/rewrites.js";
import { suite } from "../tools/suite.js";

const test = suite("passes around tokens");

/** Patches with a class token and positions: over all tokens, over the patches, or none. */
function embedded(position: "all" | "patches" | "none", more: (b: GraphBuilder, patches: Value) => Record<string, Value> = () => ({})): Graph {
  return graph((b) => {
    let x = b.input("patches", [2, 4, 3]);
    if (position === "patches") x = b.node("add", {}, [x, b.parameter("pos_embed", [1, 4, 3])], "pos_embed");
    const patches = x;
    x = b.node("concat", { axis: 1 }, [b.node("expand", { batch: 2 }, [b.parameter("cls_token", [1, 1, 3])], "cls_token"), x], "embed");
    if (position === "all") x = b.node("add", {}, [x, b.parameter("pos_embed", [1, 5, 3])], "pos_embed");
    return { y: x, ...more(b, patches) };
  });
}

test("fuse-embed puts tokens and positions together in one node", () => {
  const after = (inputs: string, position: string) => `input %patches : [2, 4, 3]
     %0 = embed(${inputs}) {prefix: 1, position: ${position}} : [2, 5, 3]  // embed
     output y = %0 : [2, 5, 3]`;
  expectRewrite(
    fuseEmbed,
    embedded("all"),
    `input %patches : [2, 4, 3]
     %0 = expand($cls_token) {batch: 2} : [2, 1, 3]  // cls_token
     %1 = concat(%0, %patches) {axis: 1} : [2, 5, 3]  // embed
     %2 = add(%1, $pos_embed) : [2, 5, 3]  // pos_embed
     output y = %2 : [2, 5, 3]`,
    after("%patches, $cls_token, $pos_embed", "all"),
  );
  expectRewrite(
    fuseEmbed,
    embedded("patches"),
    `input %patches : [2, 4, 3]
     %0 = add(%patches, $pos_embed) : [2, 4, 3]  // pos_embed
     %1 = expand($cls_token) {batch: 2} : [2, 1, 3]  // cls_token
     %2 = concat(%1, %0) {axis: 1} : [2, 5, 3]  // embed
     output y = %2 : [2, 5, 3]`,
    after("%patches, $cls_token, $pos_embed", "patches"),
  );
  expectRewrite(
    fuseEmbed,
    embedded("none"),
    `input %patches : [2, 4, 3]
     %0 = expand($cls_token) {batch: 2} : [2, 1, 3]  // cls_token
     %1 = concat(%0, %patches) {axis: 1} : [2, 5, 3]  // embed
     output y = %1 : [2, 5, 3]`,
    after("%patches, $cls_token", "none"),
  );
});

test("fuse-embed keeps placed patches that are also read elsewhere", () => {
  const input = embedded("patches", (_, patches) => ({ patches }));
  const output = runPasses(input, [fuseEmbed]).graph;
  assert.equal(output.nodes.map((node) => `${node.op} ${JSON.stringify(node.attrs)}`), ['embed {"prefix":0,"position":"all"}', 'embed {"prefix":1,"position":"none"}']);
  assert.ok(distance(input, output) <= passTolerance);
});

test("fuse-embed declines a concatenation of other things, and a sum that is no table of positions", () => {
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("concat", { axis: 1 }, [b.input("a", [2, 1, 3]), b.input("b", [2, 4, 3])], "concat") })));
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 4, 3]), b.parameter("bias", [1, 1, 3])], "add") })));
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 4, 3]), b.input("b", [2, 4, 3])], "add") })));
  // With one image a residual looks like a table, but for what it is made of.
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("add", {}, [b.input("a", [1, 4, 3]), b.input("b", [1, 4, 3])], "add") })));
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("concat", { axis: 1 }, [b.node("expand", { batch: 2 }, [b.input("a", [1, 1, 3])], "a"), b.input("b", [2, 4, 3])], "concat") })));
});

/** A product of an image's windows, and tokens and positions around it. */
function patched(position: "all" | "patches" | "none", { prefix = 1, bias = true, activation = "none", tapped = false }: { prefix?: number; bias?: boolean; activation?: "none" | "relu"; tapped?: boolean } = {}): Graph {
  return graph((b) => {
    const weights = [b.parameter("proj.weight", [3, 1, 2, 2]), ...(bias ? [b.parameter("proj.bias", [3])] : [])];
    const patches = b.node("gemm", { source: { kind: "image", stride: [2, 2], padding: [0, 0] }, bias, activation, residual: false }, [b.input("x", [2, 1, 4, 4]), ...weights], "proj");
    const tokens = Array.from({ length: prefix }, (_, i) => b.parameter(`token${i}`, [1, 1, 3]));
    const table = position === "none" ? [] : [b.parameter("pos_embed", [1, position === "all" ? prefix + 4 : 4, 3])];
    return { y: b.node("embed", { prefix, position }, [patches, ...tokens, ...table], "embed"), ...(tapped && { patches }) };
  });
}

test("fold-embed puts prefix tokens, positions and bias into a table behind the product", () => {
  const events = expectRewrite(
    foldEmbed,
    patched("all"),
    `input %x : [2, 1, 4, 4]
     %0 = gemm(%x, $proj.weight, $proj.bias) {source: {kind:image,stride:[2,2],padding:[0,0]}, bias: true, activation: none, residual: false} : [2, 4, 3]  // proj
     %1 = embed(%0, $token0, $pos_embed) {prefix: 1, position: all} : [2, 5, 3]  // embed
     output y = %1 : [2, 5, 3]`,
    `input %x : [2, 1, 4, 4]
     %0 = tokenTable($token0, $pos_embed, $proj.bias) {prefix: 1, patches: 4, positions: all, bias: true} : [1, 5, 3]  // embed.table
     %1 = gemm(%x, $proj.weight, %0) {source: {kind:image,stride:[2,2],padding:[0,0],prefix:1}, bias: false, activation: none, residual: false, table: true} : [2, 5, 3]  // proj
     output y = %1 : [2, 5, 3]`,
  );
  assert.is(events[0]!.reason, "a table behind proj: 1 prefix tokens, positions, bias");
});

test("fold-embed takes any of the three, whichever tokens the positions cover", () => {
  for (const position of ["all", "patches", "none"] as const)
    for (const prefix of [0, 1, 2])
      for (const bias of [true, false]) {
        if (prefix === 0 && position !== "all") continue;
        const input = patched(position, { prefix, bias });
        const { graph: output } = runPasses(input, [foldEmbed]);
        assert.equal(output.nodes.map((node) => node.op), ["tokenTable", "gemm"]);
        assert.ok(distance(input, output) <= passTolerance, `${position}, ${prefix} tokens, bias ${bias}`);
      }
});

test("fold-embed declines patches that are something else, or that end in something", () => {
  expectDeclined(foldEmbed, graph((b) => ({ y: b.node("embed", { prefix: 0, position: "all" }, [b.input("x", [2, 4, 3]), b.parameter("pos_embed", [1, 4, 3])], "embed") })), "its patches are not a matrix product");
  expectDeclined(foldEmbed, patched("all", { tapped: true }), "the result of proj is also read elsewhere");
  expectDeclined(foldEmbed, patched("all", { activation: "relu" }), "proj already ends in relu");
  expectDeclined(foldEmbed, graph((b) => ({ y: b.node("embed", { prefix: 0, position: "all" }, [b.node("gemm", product, [b.input("x", [2, 4, 3]), b.parameter("w", [3, 3])], "proj"), b.parameter("pos_embed", [1, 4, 3])], "embed") })), "proj is no product of windows");
  expectDeclined(foldEmbed, graph((b) => {
    const patches = b.node("gemm", { ...product, source: { kind: "image", stride: [2, 2], padding: [0, 0] } }, [b.input("x", [1, 1, 4, 4]), b.parameter("w", [3, 1, 2, 2])], "proj");
    return { y: b.node("embed", { prefix: 0, position: "all" }, [patches, b.input("positions", [1, 4, 3])], "embed") };
  }), "what it adds is not made of parameters alone");
});

/** Pooling over a part of the tokens. */
const pooled = (start: number, end: number): Graph => graph((b) => ({ y: b.node("reduce", { kind: "max" }, [b.node("sliceTokens", { start, end }, [b.input("x", [2, 4, 3])], "pool")], "pool") }));

test("fuse-pool skips the prefix without a copy, and pools over all when there is none", () => {
  expectRewrite(
    fusePool,
    pooled(1, 4),
    `input %x : [2, 4, 3]
     %0 = sliceTokens(%x) {start: 1, end: 4} : [2, 3, 3]  // pool
     %1 = reduce(%0) {kind: max} : [2, 3]  // pool
     output y = %1 : [2, 3]`,
    `input %x : [2, 4, 3]
     %0 = poolTokens(%x) {kind: max, start: 1} : [2, 3]  // pool
     output y = %0 : [2, 3]`,
  );
  const whole = runPasses(graph((b) => ({ y: b.node("reduce", { kind: "avg" }, [b.input("x", [2, 4, 3])], "pool") })), [fusePool]).graph;
  assert.equal(whole.nodes.map((node) => node.attrs), [{ kind: "avg", start: 0 }]);
});

test("fuse-pool keeps a slice that ends before the tokens do", () => {
  const input = pooled(1, 3);
  const output = runPasses(input, [fusePool]).graph;
  assert.equal(output.nodes.map((node) => node.op), ["sliceTokens", "poolTokens"]);
  assert.ok(distance(input, output) <= passTolerance);
});

/** (a + b) * 0.5, with the sum returned too if `tapped`, or b repeated. */
function mean(b: GraphBuilder, tapped: boolean, rows = 2): Record<string, Value> {
  const add = b.node("add", {}, [b.input("a", [2, 3]), b.input("b", [rows, 3])], "sum");
  return { y: b.node("scale", { factor: 0.5 }, [add], "mean"), ...(tapped && { add }) };
}

test("fuse-mean joins a sum and its factor", () => {
  expectRewrite(
    fuseMean,
    graph((b) => mean(b, false)),
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = add(%a, %b) : [2, 3]  // sum
     %1 = scale(%0) {factor: 0.5} : [2, 3]  // mean
     output y = %1 : [2, 3]`,
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = addScale(%a, %b) {factor: 0.5} : [2, 3]  // mean
     output y = %0 : [2, 3]`,
  );
  expectDeclined(fuseMean, graph((b) => mean(b, true)));
  expectDeclined(fuseMean, graph((b) => mean(b, false, 1)));
  expectDeclined(fuseMean, graph((b) => ({ y: b.node("scale", { factor: 2 }, [b.input("x", [2])], "scale") })));
});

test("lower-sums makes a kernel of what nothing absorbed", () => {
  expectRewrite(
    lowerSums,
    graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 3]), b.input("b", [2, 3])], "sum") })),
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = add(%a, %b) : [2, 3]  // sum
     output y = %0 : [2, 3]`,
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = addScale(%a, %b) {factor: 1} : [2, 3]  // sum
     output y = %0 : [2, 3]`,
  );
  expectDeclined(lowerSums, graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 3]), b.input("b", [1, 3])], "sum") })));
});

test.run();

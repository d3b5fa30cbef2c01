/** What is done to heads besides plain attention, launched as it is on the software adapter, against the ops' `evaluate` in f64. */
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf, openKernelDevice } from "../tools/compare-kernels.js";
import { attentionLaunch, differential, map, type AttentionLaunch, type DifferentialCase, type MapCase } from "../tools/launch-attention.js";
import { prepared, type PrepareCase } from "../tools/launch-cases.js";
import { compareLaunches, expectLaunchCaught, type LaunchCase, type LaunchMutant } from "../tools/launches.js";
import { skipAll, suite } from "../tools/suite.js";

const layer = { kind: "layer", eps: 1e-6 } as const;
const root = { kind: "rms", eps: 1e-5 } as const;

const preparations: Readonly<Record<string, PrepareCase>> = {
  "a layer norm of heads of 64": { tokens: 17, heads: 3, headDim: 64, norm: layer },
  "an rms norm, heads of 15": { batch: 2, tokens: 5, heads: 3, headDim: 15, norm: root, magnitude: 1000 },
  "a layer norm of heads far from zero": { tokens: 5, heads: 2, headDim: 32, norm: layer, offset: 100 },
  "a norm of heads as small as eps": { tokens: 5, heads: 2, headDim: 32, norm: { kind: "rms", eps: 1e-5 }, magnitude: 3e-3 },
  "neighbours turned behind a token": { batch: 2, tokens: 10, heads: 3, headDim: 16, prefix: 1, rotary: { pairs: "neighbours", own: false } },
  "neighbours turned, a table a head": { batch: 2, tokens: 10, heads: 3, headDim: 20, prefix: 1, rotary: { pairs: "neighbours", own: true } },
  "neighbours turned, heads of 6, no token in front": { tokens: 9, heads: 2, headDim: 6, rotary: { pairs: "neighbours", own: false } },
  "halves turned behind five tokens": { batch: 2, tokens: 14, heads: 3, headDim: 64, prefix: 5, rotary: { pairs: "halves", own: false } },
  "halves turned, heads of 20, whose halves are no vec4s": { tokens: 9, heads: 2, headDim: 20, prefix: 1, rotary: { pairs: "halves", own: true } },
  "halves turned, heads of 6": { tokens: 9, heads: 2, headDim: 6, prefix: 3, rotary: { pairs: "halves", own: false } },
  "a layer norm and neighbours turned": { batch: 2, tokens: 10, heads: 3, headDim: 16, prefix: 1, norm: layer, rotary: { pairs: "neighbours", own: false } },
  "an rms norm and neighbours turned, heads of 10": { tokens: 10, heads: 2, headDim: 10, prefix: 1, norm: root, rotary: { pairs: "neighbours", own: true } },
  "an rms norm and halves turned": { tokens: 14, heads: 2, headDim: 256, prefix: 5, norm: root, rotary: { pairs: "halves", own: false } },
  "a layer norm and halves turned, heads of 12": { tokens: 9, heads: 2, headDim: 12, norm: layer, rotary: { pairs: "halves", own: true } },
};

/** Places on a grid; where the tokens are not all queries, the queries are the first ones. */
const relatives: Readonly<Record<string, AttentionLaunch>> = {
  "a grid of 4 x 3 behind a token": { batch: 2, tokens: 13, heads: 3, headDim: 16, relative: { rows: 4, columns: 3, prefix: 1 } },
  "a grid of 3 x 5, no token in front, heads of 15": { tokens: 15, heads: 2, headDim: 15, relative: { rows: 3, columns: 5, prefix: 0 } },
  "a grid of 8 x 8 behind a token, a scale that is folded": { tokens: 65, heads: 2, headDim: 8, scale: 1, magnitude: 0.5, relative: { rows: 8, columns: 8, prefix: 1 } },
  "a row of 7": { tokens: 7, heads: 1, headDim: 20, relative: { rows: 1, columns: 7, prefix: 0 } },
  "the first two queries of a grid of 3 x 3": { batch: 2, tokens: 10, heads: 2, headDim: 8, queries: 2, relative: { rows: 3, columns: 3, prefix: 1 } },
  "places that decide, scores up to 50": { tokens: 17, heads: 2, headDim: 16, magnitude: 7, relative: { rows: 4, columns: 4, prefix: 1 } },
};

const shared: Readonly<Record<string, AttentionLaunch>> = {
  "one for three images": { batch: 3, tokens: 17, heads: 2, headDim: 16, queries: 1, shared: true },
  "one for two images, heads of 15": { batch: 2, tokens: 17, heads: 3, headDim: 15, queries: 1, shared: true },
  "five for two images": { batch: 2, tokens: 50, heads: 2, headDim: 20, queries: 5, shared: true },
  "twenty for two images": { batch: 2, tokens: 9, heads: 1, headDim: 8, queries: 20, shared: true },
};

const differences: Readonly<Record<string, DifferentialCase>> = {
  "197 tokens": { tokens: 197, heads: 2, headDim: 16, lambda: 0.2 },
  "two images of 17 tokens, heads of 64": { batch: 2, tokens: 17, heads: 3, headDim: 64, lambda: 0.7, factor: 0.8 },
  "heads of 20, whose halves are no vec4s": { batch: 2, tokens: 13, heads: 2, headDim: 20, lambda: 0.5, factor: 0.4 },
  "heads of 12, whose halves are no vec4s": { tokens: 9, heads: 2, headDim: 12, lambda: 0.5, factor: 0.4 },
  "heads of 6": { tokens: 5, heads: 3, headDim: 6, lambda: -0.3 },
  "heads of 136, which are not unrolled": { tokens: 6, heads: 1, headDim: 136, lambda: 0.9 },
  "heads of 74, which are not unrolled": { tokens: 7, heads: 2, headDim: 74, lambda: 0.9 },
  "one token": { tokens: 1, heads: 2, headDim: 8, lambda: 0.5 },
  "900 tokens, whose scores are too many to store": { tokens: 900, heads: 1, headDim: 8, lambda: 0.5 },
  "scores up to 50": { tokens: 17, heads: 2, headDim: 32, magnitude: 7, lambda: 0.6 },
  "results as small as eps": { tokens: 16, heads: 2, headDim: 16, magnitude: 3e-3, lambda: 0.6 },
  "a scale of 1": { tokens: 9, heads: 2, headDim: 16, scale: 1, lambda: 0.6 },
};

const maps: Readonly<Record<string, MapCase>> = {
  "197 tokens": { tokens: 197, heads: 2, headDim: 16 },
  "two images of 17 tokens, heads of 64": { batch: 2, tokens: 17, heads: 3, headDim: 64 },
  "16 tokens, a scale that is folded": { tokens: 16, heads: 2, headDim: 8, scale: 1, magnitude: 0.5 },
  "heads of 15": { batch: 2, tokens: 13, heads: 3, headDim: 15 },
  "one token": { tokens: 1, heads: 2, headDim: 8 },
  "two tokens, heads of 1": { tokens: 2, heads: 3, headDim: 1 },
  "heads of 132, which are not unrolled": { tokens: 7, heads: 1, headDim: 132 },
  "scores up to 50": { tokens: 17, heads: 2, headDim: 16, magnitude: 7 },
  "places on a grid of 4 x 3 behind a token": { batch: 2, tokens: 13, heads: 3, headDim: 16, relative: { rows: 4, columns: 3, prefix: 1 } },
  "places on a grid of 3 x 5, heads of 15": { tokens: 15, heads: 2, headDim: 15, relative: { rows: 3, columns: 5, prefix: 0 } },
  "a difference, 197 tokens": { tokens: 197, heads: 2, headDim: 16, lambda: 0.2 },
  "a difference of heads of 20, whose halves are no vec4s": { batch: 2, tokens: 13, heads: 2, headDim: 20, lambda: 0.5 },
  "a difference of heads of 6": { tokens: 5, heads: 3, headDim: 6, lambda: -0.3 },
  "a difference, scores up to 50": { tokens: 17, heads: 2, headDim: 32, magnitude: 7, lambda: 0.6 },
};

/** The form that keeps sums in registers takes tens of seconds to compile for these on lavapipe. */
const slow = new Set(["two images of 17 tokens, heads of 64", "heads of 20, whose halves are no vec4s"]);

/** Cases for every candidate of attention. */
const everyCandidate = new Set(["a grid of 8 x 8 behind a token, a scale that is folded", "five for two images"]);

const reason = await softwareReason();
if (reason) skipAll("heads", reason);
else {
  const test = suite("heads");
  const { device } = await openKernelDevice();
  /** The family with workgroup memory takes seconds to compile, and has a case of each. */
  const compareAttention = (title: string, of: LaunchCase): Promise<void> => compareLaunches(device, of, everyCandidate.has(title) ? {} : { leave: /^tiled/ });

  for (const dtype of dtypesOf(device)) {
    for (const [title, options] of Object.entries(preparations)) test(`${dtype}: prepared: ${title}`, () => compareLaunches(device, prepared(options, dtype)));
    for (const [title, options] of Object.entries(relatives)) test(`${dtype}: relative places: ${title}`, () => compareAttention(title, attentionLaunch(options, dtype)));
    for (const [title, options] of Object.entries(shared)) test(`${dtype}: shared queries: ${title}`, () => compareAttention(title, attentionLaunch(options, dtype)));
    for (const [title, options] of Object.entries(maps)) test(`${dtype}: map: ${title}`, () => compareLaunches(device, map(options, dtype)));
    for (const [title, options] of Object.entries(differences)) test(`${dtype}: differential: ${title}`, () => compareLaunches(device, differential(options, dtype), slow.has(title) ? { leave: /^online/ } : {}));
  }

  const both = prepared(preparations["a layer norm and neighbours turned"]!);
  const halves = prepared(preparations["halves turned, heads of 20, whose halves are no vec4s"]!);
  const small = prepared(preparations["a norm of heads as small as eps"]!);
  const grid = attentionLaunch(relatives["a grid of 4 x 3 behind a token"]!);
  const longer = attentionLaunch(relatives["a grid of 8 x 8 behind a token, a scale that is folded"]!);
  const bare = attentionLaunch(relatives["a grid of 3 x 5, no token in front, heads of 15"]!);
  const query = attentionLaunch(shared["one for three images"]!);
  const several = attentionLaunch(shared["five for two images"]!);
  const pair = differential({ batch: 2, tokens: 17, heads: 3, headDim: 16, lambda: 0.7, factor: 0.8 });
  const weights = map(maps["two images of 17 tokens, heads of 64"]!);
  const placed = map(maps["places on a grid of 4 x 3 behind a token"]!);
  const subtracted = map({ batch: 2, tokens: 13, heads: 3, headDim: 16, lambda: 0.7 });
  const tiny = differential(differences["results as small as eps"]!);
  const mutants: readonly LaunchMutant[] = [
    ["prepared: the scale of queries for keys", both, "only", /k_scale\[i\]/, "q_scale[i]"],
    ["prepared: no shift", both, "only", / \+ select\(q_shift[^)]*\)/, ""],
    ["prepared: the last key not", both, "only", /index >= 120u/, "index >= 119u"],
    ["prepared: values too", both, "only", /index % 6u/, "index % 7u"],
    ["prepared: a sum for a mean", both, "only", /sum, vec4<f32>\(1\.0\)\) \/ width/, "sum, vec4<f32>(1.0)) / (width - 1.0)"],
    ["prepared: another eps", small, "only", /\+ 0\.0000099999\d*/, "+ 1.02e-5"],
    ["prepared: the first token turned", both, "only", />= 1u;/, ">= 0u;"],
    ["prepared: turned by another place", both, "only", /- 1u\) \* units/, "- 0u) * units"],
    ["prepared: turned the other way", both, "only", /-value\.y, value\.x/, "value.y, -value.x"],
    ["prepared: sines for cosines", both, "only", /table\[angles \+ i\]/, "table[sines + angles + i]"],
    ["prepared: the table of another head", halves, "only", /vector % 2u \* places/, "0u * places"],
    ["prepared: other halves", halves, "only", /pair \+ 10u/g, "pair + 9u"],
    ["relative places: none", grid, "register", /score \+= vec4<f32>\(relative_bias[^;]*;/, ""],
    ["relative places: rows of another grid", grid, "register", /at \/ 3u/g, "at / 4u"],
    ["relative places: from query to key", grid, "register", /query - key/, "14u + key - query"],
    ["relative places: one further", bare, "register", /\+ 22u/, "+ 21u"],
    ["relative places: another head", grid, "register", /row \* heads \+ head/, "row * heads"],
    ["relative places: the first token's query as its key", grid, "register", /select\(query - key, 35u/, "select(query - key, 36u"],
    ["relative places: the first token to itself as to a patch", grid, "register", /select\(36u, 37u/, "select(36u, 36u"],
    ["relative places: the first token as a patch", grid, "register", /, key == in_front\)/, ", false)"],
    ["relative places: quad: without the scale", grid, "quad8", / \* 0\.25 \+ relative_bias/g, " + relative_bias"],
    ["relative places: quad: a neighbour's query", grid, "quad8", /\(member \^ 1u\), queries/, "(member ^ 0u), queries"],
    ["relative places: quad: another key", longer, "quad8", /key_place\(min\(key1/, "key_place(min(key0"],
    ["relative places: tiled: keys of the first tile", longer, "tiled_16x8", /key_place\(min\(tile \+ key/, "key_place(min(key"],
    ["relative places: tiled: queries of the first workgroup", longer, "tiled_16x8", /query_place\(min\(query/, "query_place(min(row"],
    ["shared queries: the next", several, "register", /\(query\) \* qRowStride/, "(min(query + 1u, 4u)) * qRowStride"],
    ["shared queries: keys of another image", query, "register", /image \* tokens/, "0u * tokens"],
    ["shared queries: quad: the first alone", several, "quad8", /\(min\(firstQuery \+ 0u \+ member, queries - 1u\)\)/, "(0u * member)"],
    ["shared queries: tiled: the first alone", several, "tiled_4x32", /\(min\(group_id\.x[^;]*queries - 1u\)\) \* qRowStride/, "0u"],
    ["differential: lambda of the sign that it has not", pair, "online", /- subtracted \*/g, "+ subtracted *"],
    ["differential: one map for both", pair, "online", /query2 = query1 \+ halfStride/, "query2 = query1"],
    ["differential: the keys of one map for both", pair, "online", /k0_2 = k0_1 \+ halfStride/, "k0_2 = k0_1"],
    ["differential: the first sum for the second", pair, "online", /lambda\[0\] \/ total2/, "lambda[0] / total1"],
    ["differential: the second sum not rescaled", pair, "online", /total2 \* keep2/, "total2"],
    ["differential: keys beyond the end counted", pair, "online", /score2\[1\] = lowest;/, ""],
    ["differential: another factor", pair, "online", /\* 0\.80000\d*;/, "* 0.801;"],
    ["differential: another eps", tiny, "online", /\+ 0\.0000099999\d*/, "+ 1.02e-5"],
    ["differential: no scale of the norm", pair, "online", / \* vec4<f32>\(scale\[0u \+ 0u\]\)/, ""],
    ["differential: stored: one map for both", pair, "stored", /query2 = query1 \+ halfStride/, "query2 = query1"],
    ["differential: stored: nothing subtracted", pair, "stored", / - scores2\[step\] \* subtracted/, ""],
    ["differential: stored: keys beyond the end counted", pair, "stored", /score2\[1\] = lowest;/, ""],
    ["differential: stored: the last step left out of the sum", pair, "stored", /(lambda[^]*)step < 5u/, "$1step < 4u"],
    ["differential: stored: keys for values", pair, "stored", /first \+ vOffset/, "first + kOffset"],
    ["differential: stored: a value twice", pair, "stored", /min\(key \+ 2u, tokens - 1u\) \* rowStride\] \+ weight/, "key * rowStride] + weight"],
    ["differential: stored: no scale of the norm", pair, "stored", / \* scale\[at - outAt\]/, ""],
    ["map: another scale", weights, "register", /\* 0\.125;/, "* 0.126;"],
    ["map: the last key left out of the sum", weights, "register", /if \(round == 0u\) \{/, "if (round == 0u && key < 16u) {"],
    ["map: keys beyond the end counted", weights, "register", /score1\[3\] = lowest;/, ""],
    ["map: the sum not rescaled", weights, "register", /total1 \* exp\(largest1 - next1\)/, "total1"],
    ["map: not divided", weights, "register", / \/ total1/, ""],
    ["map: the last keys not written", weights, "register", /if \(key \+ 1u < tokens\)/, "if (key + 5u < tokens)"],
    ["map: the row of another query", weights, "register", /index \* tokens \+ key/, "(index / tokens * tokens + (query + 1u) % tokens) * tokens + key"],
    ["map: keys of another image", weights, "register", /image \* tokens \* rowStride/, "0u"],
    ["map: keys of another head", weights, "register", /index \/ tokens % heads/, "0u"],
    ["map: values for keys", weights, "register", /rowStride \+ kOffset/, "rowStride + 2u * kOffset"],
    ["map: no places", placed, "register", /score1 \+= vec4<f32>\(relative_bias[^;]*;/, ""],
    ["map: places of another head", placed, "register", /row \* heads \+ head/, "row * heads"],
    ["map: one map for both", subtracted, "register", /query2 = query1 \+ halfStride/, "query2 = query1"],
    ["map: the keys of one map for both", subtracted, "register", /k0_2 = k0_1 \+ halfStride/, "k0_2 = k0_1"],
    ["map: nothing subtracted", subtracted, "register", /lambda\[0\] \*/, "0.0 *"],
    ["map: the first sum for the second", subtracted, "register", /\/ total2/, "/ total1"],
    ["differential: stored: another eps", tiny, "stored", /\+ 0\.0000099999\d*/, "+ 1.02e-5"],
  ];
  for (const mutant of mutants) test(`a changed kernel is caught: ${mutant[0]}`, () => expectLaunchCaught(device, mutant));

  test.after(() => device.destroy());
  test.run();
}

/** Attention by every candidate on the software adapter against the op's `evaluate` in f64, in f32 and, where the adapter has it, f16. */
import * as assert from "uvu/assert";
import { interpret } from "../../compiler/ir/interpret.js";
import { softwareReason } from "../tools/adapter.js";
import { choicesFor, compareCandidates, dtypesOf, expectCaught, openKernelDevice, type Mutant } from "../tools/compare-kernels.js";
import { attention, type AttentionCase } from "../tools/kernel-cases.js";
import { runGraph } from "../tools/run-kernel.js";
import { skipAll, suite } from "../tools/suite.js";
import { randomTensor, sum } from "../tools/tensors.js";

const attentions: Readonly<Record<string, AttentionCase>> = {
  "197 tokens": { tokens: 197, heads: 2, headDim: 16 },
  "two images of 17 tokens, heads of 15": { batch: 2, tokens: 17, heads: 3, headDim: 15 },
  "13 tokens, one head of 30": { tokens: 13, heads: 1, headDim: 30 },
  "one query of 197 tokens": { batch: 2, tokens: 197, heads: 2, headDim: 32, queries: "one" },
  "two queries of 50 tokens": { batch: 2, tokens: 50, heads: 3, headDim: 20, queries: 2 },
  "257 tokens, heads of 80, a scale that is folded": { tokens: 257, heads: 1, headDim: 80, scale: 1, magnitude: 0.5 },
  "one token": { tokens: 1, heads: 2, headDim: 8 },
  "two tokens, heads of 1": { tokens: 2, heads: 3, headDim: 1 },
  "16 tokens, heads of 64": { tokens: 16, heads: 1, headDim: 64 },
  "7 tokens, a head of 132, which is not unrolled": { tokens: 7, heads: 1, headDim: 132 },
  "7 tokens, a head of 131, which is not unrolled": { tokens: 7, heads: 2, headDim: 131 },
  "scores up to 50": { tokens: 17, heads: 2, headDim: 16, magnitude: 7 },
  "a scale of its own": { tokens: 13, heads: 2, headDim: 12, scale: 0.15 },
};

/** Cases for every candidate: several tiles of every form and a rest in the last, and heads that 4 does not divide. */
const everyCandidate = new Set(["197 tokens", "13 tokens, one head of 30", "one query of 197 tokens"]);

/** The forms with workgroup memory take seconds to compile: the other cases have one of them, another from case to case, beside all others. */
function oneTiled(choices: readonly string[], turn: number): readonly string[] {
  const tiled = choices.filter((name) => name.startsWith("tiled"));
  return choices.filter((name) => !name.startsWith("tiled") || name === tiled[turn % tiled.length]);
}

const reason = await softwareReason();
if (reason) skipAll("attention", reason);
else {
  const test = suite("attention");
  const { device } = await openKernelDevice();

  for (const dtype of dtypesOf(device)) {
    Object.entries(attentions).forEach(([title, options], i) => {
      const of = attention(options, dtype);
      test(`${dtype}: ${title}`, () => compareCandidates(device, of, everyCandidate.has(title) ? {} : { choices: oneTiled(choicesFor(device, of), i) }));
    });
  }

  test("the inputs are what the titles say: scores reach 50 and stay there", () => {
    assert.ok(largestScore(attentions["scores up to 50"]!) > 45 && largestScore(attentions["scores up to 50"]!) < 60);
    assert.ok(largestScore(saturated) > 2000);
  });

  const saturated: AttentionCase = { tokens: 17, heads: 2, headDim: 16, magnitude: 50 };

  function largestScore({ tokens, heads, headDim, magnitude }: AttentionCase): number {
    const { data } = randomTensor([1, tokens, 3 * heads * headDim], "qkv", magnitude);
    const width = heads * headDim;
    let largest = 0;
    for (let q = 0; q < tokens; q++)
      for (let k = 0; k < tokens; k++)
        for (let h = 0; h < heads; h++) largest = Math.max(largest, Math.abs(sum(headDim, (c) => data[q * 3 * width + h * headDim + c]! * data[k * 3 * width + width + h * headDim + c]!)) / Math.sqrt(headDim));
    return largest;
  }

  test("scores of thousands choose one token, without NaN", async () => {
    const { graph, values, dtype, storage, bound } = attention(saturated);
    const exact = interpret(graph, values).get("y")!;
    for (const choice of choicesFor(device, attention(saturated))) {
      const actual = (await runGraph(device, graph, values, { dtype, storage, choice })).get("y")!;
      assert.ok(actual.every((value) => Number.isFinite(value) && Math.abs(value) <= 50), choice);
      actual.forEach((value, i) => assert.ok(Math.abs(value - exact.data[i]!) <= bound(exact, choice)(i), `${choice}, ${i}: ${value} instead of ${exact.data[i]}`));
    }
  });

  const heads = attention({ tokens: 17, heads: 2, headDim: 16 });
  const longer = attention({ tokens: 67, heads: 2, headDim: 16, magnitude: 3 });
  const tiled = "tiled_16x8";
  const mutants: readonly Mutant[] = [
    ["another scale", heads, "register", /\* 0\.25;/, "* 0.2525;"],
    ["the last key left out", heads, "register", /key < tokens; key/, "key < tokens - 1u; key"],
    ["keys beyond the end counted", heads, "register", />= tokens\) \{ score\[1\]/, "> tokens) { score[1]"],
    ["keys for values", heads, "register", /\+ kOffset/, "+ vOffset"],
    ["the sum not rescaled", heads, "register", /total \* keep/, "total"],
    ["the heads of another", heads, "register", /queries % heads/, "queries % 1u"],
    ["quad: a neighbour's query twice", heads, "quad8", /quadSwapX\(a0\)/, "a0"],
    ["quad: keys beyond the end counted", heads, "quad8", /if \(key0 >= tokens\) \{[^}]*\}/, ""],
    ["quad: sums not joined", heads, "quad8", /let total0 = [^;]*;/, "let total0 = part0;"],
    ["quad: values of another key", heads, "quad8", /\(member \^ 1u\)/, "member"],
    ["tiled: the sum not rescaled", longer, tiled, /total \*= keep;/, ""],
    ["tiled: keys beyond the end counted", heads, tiled, /select\(lowest, value, [^)]*\)/g, "value"],
    ["tiled: another scale", heads, tiled, /\* 0\.25/, "* 0.2525"],
  ];
  for (const mutant of mutants) test(`a changed kernel is caught: ${mutant[0]}`, () => expectCaught(device, mutant));

  test.after(() => device.destroy());
  test.run();
}

/**
 * The cost model and the choices that plans carry. What is asserted is what must hold whatever the model's constants are tuned to: orders
 * of magnitude, bounds on what a package carries, and that the best of what there is gets into it.
 */
import * as assert from "uvu/assert";
import { attentionCandidates } from "../../compiler/kernels/attention/families.js";
import { candidate as makeCandidate, type Candidate, type Needs, type Work } from "../../compiler/kernels/candidate.js";
import { gemmCandidates } from "../../compiler/kernels/gemm/families.js";
import type { GemmParams } from "../../compiler/kernels/gemm/params.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { cost, costsOf } from "../../compiler/target/cost.js";
import { shortlist } from "../../compiler/target/shortlist.js";
import { targets, type Target } from "../../compiler/target/targets.js";
import type { DType } from "../../runtime/plan.js";
import { exampleSpecs } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("targets");

const target = (name: string): Target => {
  const found = targets.find((one) => one.name === name);
  if (!found) throw new Error(`no target ${name}`);
  return found;
};
const [cpus, gpus] = [["cpu4", "cpu8"].map(target), ["gpu", "large-gpu"].map(target)];

// ------------------------------------------------------------------------------------------------------ the model

const work: Work = { workgroups: 1000, invocations: 64, fmas: 1000, loads: 200, sharedLoads: 0, barriers: 0, broadcasts: 0 };

/** A candidate of so much work, which needs nothing unless told so. */
function candidate(name: string, changes: Partial<Work> = {}, needs: Needs = {}, count = 1): Candidate {
  const launch = { kernel: { id: name, bindings: [], workgroupSize: [64, 1, 1], code: "" }, workgroups: [1, 1, 1] } as const;
  return makeCandidate(name, { ...work, ...changes }, () => Array.from({ length: count }, () => launch), { count, needs });
}

test("more of any kind of work never costs less, and more of what a target is bound by costs more", () => {
  for (const one of targets) {
    const base = cost(candidate("base"), one);
    for (const kind of ["workgroups", "fmas", "loads", "sharedLoads", "barriers", "broadcasts"] as const) {
      const more = cost(candidate("more", { [kind]: 2 * work[kind] + 1000 }), one);
      assert.ok(more >= base, `${kind} on ${one.name}`);
    }
    assert.ok(cost(candidate("twice", { fmas: 2 * work.fmas, loads: 2 * work.loads }), one) > 1.5 * base, one.name);
    assert.ok(cost(candidate("barriers", { barriers: 1000 }), one) > base, one.name);
    assert.ok(Math.abs(cost(candidate("two", {}, {}, 2), one) - base - one.launch) < 1e-6 * base, one.name);
  }
});

test("a launch too small to fill a target takes no less time than one that fills it", () => {
  for (const one of gpus) {
    const filled = candidate("filled", { workgroups: one.cores, invocations: one.resident });
    const few = candidate("few", { workgroups: 1, invocations: one.lanes });
    // The same work of each invocation, and the same time: the cores that are left over do nothing.
    assert.ok(Math.abs(cost(few, one) - cost(filled, one)) < 1e-6 * cost(filled, one), one.name);
  }
});

test("costs are told for each target in order, with three digits", () => {
  const costs = costsOf(candidate("any"));
  assert.is(costs.length, targets.length);
  costs.forEach((told, i) => {
    assert.is(told, Number(cost(candidate("any"), targets[i]!).toPrecision(3)));
    assert.ok(told > 0);
  });
  assert.is(new Set(targets.map(({ name }) => name)).size, targets.length);
});

// ------------------------------------------------------------------------------------------------------ what is carried

const carried = (...candidates: readonly Candidate[]): string[] => shortlist(candidates).map(({ name }) => name);
const slow = { fmas: 100 * work.fmas, loads: 100 * work.loads };

test("the first candidate is always carried, and others only if they are worth it somewhere", () => {
  assert.equal(carried(candidate("first", slow)), ["first"]);
  assert.equal(carried(candidate("first", slow), candidate("good")), ["first", "good"]);
  assert.equal(carried(candidate("first"), candidate("hopeless", slow)), ["first"]);
  // In the order that they came in, not of their costs.
  assert.equal(carried(candidate("first", slow), candidate("even"), candidate("better", { fmas: work.fmas / 1.1 })).slice(0, 2), ["first", "even"]);
});

test("a candidate for other subgroups than a target's counts for nothing there, and where they vary it counts", () => {
  const eight = candidate("eight", { fmas: 1, loads: 1 }, { subgroupSize: 8 });
  // Its barriers cost a CPU much more, and it does not run on one with subgroups of 4 or 8.
  const sixteen = candidate("sixteen", { fmas: 1, loads: 1, barriers: 1 }, { subgroupSize: 16 });
  assert.equal(carried(candidate("first"), eight), ["first", "eight"]);
  assert.equal(carried(candidate("first"), sixteen), ["first", "sixteen"]);
  assert.equal(carried(candidate("first"), candidate("slower", { fmas: 1e6, loads: 1e6 }, { subgroupSize: 16 })), ["first"]);
});

test("beside what needs matrix units the best that does without is carried", () => {
  const matrices = Array.from({ length: 9 }, (_, i) => candidate(`matrix${"abcdefghi"[i]}`, { fmas: 1 + i, loads: 1 }, { subgroupSize: 32, matrices: "16x16x16" }));
  const found = carried(candidate("first", slow), ...matrices, candidate("plain"));
  assert.ok(found.includes("plain") && found.includes("matrixa"), found.join());
});

/** The four products of a block of ViT-B/16, and what is behind each. */
const block = [
  { name: "attn.qkv", inner: 768, cols: 2304, norm: true, activation: "none", addend: "none" },
  { name: "attn.proj", inner: 768, cols: 768, norm: false, activation: "none", addend: "in-place" },
  { name: "mlp.fc1", inner: 768, cols: 3072, norm: true, activation: "gelu", addend: "none" },
  { name: "mlp.fc2", inner: 3072, cols: 768, norm: false, activation: "none", addend: "in-place" },
] as const;

function product({ inner, cols, norm, activation, addend }: (typeof block)[number], images: number, tokens: number, dtype: DType = "f32"): GemmParams {
  const source = { kind: "rows", rows: images * tokens, inner, tokens } as const;
  return { source, cols, within: { cols, first: 0 }, ...(norm && { norm: { eps: 1e-6, from: "inline" as const } }), bias: true, activation, addend, dtypes: { left: norm ? "f32" : dtype, weight: dtype, out: addend === "none" ? dtype : "f32" } };
}

/** The candidates that adapters of a kind may run, the cheapest first. `matrices`: whether they have units for them. */
const ranked = (candidates: readonly Candidate[], one: Target, matrices: boolean): readonly Candidate[] =>
  candidates
    .filter(({ launches }) => launches.every(({ kernel }) => (kernel.subgroupSize === undefined || kernel.subgroupSize === one.subgroupSize) && (matrices || !kernel.matrix)))
    .toSorted((a, b) => cost(a, one) - cost(b, one));

test("for every product of a block and every attention, the cheapest of all candidates is carried", () => {
  const shapes = [[1, 197], [64, 197], [1, 1], [8, 1]] as const;
  const products = shapes.flatMap(([images, tokens]) => (["f32", "f16"] as const).flatMap((dtype) => block.map((part) => ({ name: `${part.name} of ${images} x ${tokens} in ${dtype}`, all: gemmCandidates(product(part, images, tokens, dtype)) }))));
  const attentions = [197, 1].map((queries) => ({ name: `attention of ${queries}`, all: attentionCandidates({ batch: 1, tokens: 197, queries, packed: queries === 197, heads: 12, headDim: 64, scale: 1, dtypes: { in: "f32", out: "f32" } }).candidates() }));
  for (const { name, all } of [...products, ...attentions]) {
    const kept = shortlist(all);
    assert.is(kept[0], all[0], name);
    assert.equal(kept, all.filter((one) => kept.includes(one)), name);
    for (const one of targets)
      for (const matrices of [true, false]) {
        const [best] = ranked(all, one, matrices);
        assert.ok(kept.includes(best!), `${name}: ${best!.name} is the best on ${one.name}`);
      }
    // Fewer than there are, or the list would be no list.
    assert.ok(kept.length < all.length || all.length <= 4, name);
  }
});

test("no routine of an example has more than nine choices (the most is printed)", () => {
  let most = { count: 0, id: "" };
  for (const spec of exampleSpecs.values())
    for (const dtype of ["f32", "f16"] as const)
      for (const { id, choices } of makePlan(resolve(spec), { dtype }).plan.routines) {
        assert.is(new Set(choices.map(({ name }) => name)).size, choices.length, `${id} names each choice once`);
        for (const { name, costs } of choices) assert.is(costs.length, targets.length, `${id} ${name}`);
        if (choices.length > most.count) most = { count: choices.length, id };
      }
  console.log(`\nmost choices of a routine: ${most.count}, ${most.id}`);
  assert.ok(most.count > 1 && most.count <= 9, `${most.id} has ${most.count} choices`);
});

// ------------------------------------------------------------------------------------------------------ ViT-B/16

const needsMatrices = ({ launches }: Candidate): boolean => launches.some(({ kernel }) => kernel.matrix !== undefined);
const sharesMemory = ({ launches }: Candidate): boolean => launches.some(({ kernel }) => /var<workgroup>|workgroupBarrier/.test(kernel.code));

test("in f16 a batch of 64 goes to the matrix units of a large GPU", () => {
  for (const part of block) {
    const candidates = gemmCandidates(product(part, 64, 197, "f16"));
    const [best] = ranked(candidates, target("large-gpu"), true);
    assert.ok(needsMatrices(best!), `${part.name}: ${best!.name}`);
    // By more than a little, or it would not be worth what it needs.
    assert.ok(1.5 * cost(best!, target("large-gpu")) < cost(ranked(candidates, target("large-gpu"), false)[0]!, target("large-gpu")), part.name);
    // Weights of f32 have no such units.
    assert.is(gemmCandidates(product(part, 64, 197, "f32")).filter(needsMatrices).length, 0);
  }
});

test("on a CPU nothing with barriers or workgroup memory is chosen for the products of an image", () => {
  for (const one of cpus)
    for (const part of block)
      for (const dtype of ["f32", "f16"] as const) {
        const order = ranked(gemmCandidates(product(part, 1, 197, dtype)), one, true);
        const [best] = order;
        assert.ok(!sharesMemory(best!) && best!.work.barriers === 0, `${part.name} on ${one.name}: ${best!.name}`);
        // There are such candidates, and the model knows them for what they are.
        const sharing = order.filter(sharesMemory);
        assert.ok(sharing.length > 0 && sharing.every(({ work: { barriers } }) => barriers > 0), part.name);
        assert.ok(cost(sharing[0]!, one) > 1.5 * cost(best!, one), `${part.name} on ${one.name}`);
      }
});

test("on a GPU one row of a matrix is cut into more pieces than large tiles make of it", () => {
  for (const one of gpus)
    for (const part of block) {
      const candidates = gemmCandidates(product(part, 1, 1));
      const [best] = ranked(candidates, one, false);
      const [first] = candidates;
      assert.ok(best!.work.workgroups >= 2 * first!.work.workgroups, `${part.name} on ${one.name}: ${best!.name}`);
      assert.ok(2 * cost(best!, one) < cost(first!, one), `${part.name} on ${one.name}`);
    }
});

test("a large GPU is filled with small tiles by one image, and uses large ones for 64", () => {
  const large = target("large-gpu");
  for (const part of block) {
    const pieces = (images: number): number => {
      const params = product(part, images, 197);
      const [best] = ranked(gemmCandidates(params), large, false);
      return (params.source.rows * params.cols) / best!.work.workgroups;
    };
    assert.ok(pieces(1) < pieces(64), `${part.name}: ${pieces(1)} numbers a workgroup, then ${pieces(64)}`);
  }
  // The projection of one image alone has no more tiles of 64 x 64 than half of the cores.
  const { work: { workgroups } } = ranked(gemmCandidates(product(block[1], 1, 197)), large, false)[0]!;
  assert.ok(workgroups > large.cores, `${workgroups} workgroups for ${large.cores} cores`);
});

test.run();

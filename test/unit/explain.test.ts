import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { explainShape } from "../../compiler/cli/json-explain.js";
import { explain } from "../../compiler/explain/explain.js";
import { html } from "../../compiler/explain/html.js";
import { glance } from "../../compiler/explain/page/glance.js";
import type { ArenaReport, DispatchReport, ProfileReport, Report } from "../../compiler/explain/report.js";
import { graphAt, graphStages, groupEvents } from "../../compiler/explain/stages.js";
import { passesText, routinesText, summary } from "../../compiler/explain/text.js";
import { isWeightOp } from "../../compiler/ir/graph.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { toSpec } from "../../compiler/spec/written.js";
import { targets } from "../../compiler/target/targets.js";
import { noteFixture, noteNames } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";

const test = suite("explain");

const tiny: ViTSpec = { name: "tiny", image: 224, patch: 16, dim: 192, depth: 12, heads: 3 };

const specFolder = fileURLToPath(new URL("../../specs", import.meta.url));
const examples = await Promise.all(
  readdirSync(specFolder).filter((file) => file.endsWith(".ts")).map(async (file) => ((await import(`${specFolder}/${file}`)) as { default: ViTSpec }).default),
);
/** Every shape of model: the notes' variants, the examples, and outputs of all kinds. */
const specs: readonly ViTSpec[] = [
  ...noteNames.map((name) => noteFixture(name).spec),
  ...examples,
  { ...tiny, name: "taps", depth: 6, outputs: ["embed", "blocks.*", "norm", "features"], dropout: { position: 0.1, attention: 0.1, projection: 0.1, path: 0.1 } },
  { ...tiny, name: "bare", depth: 1, tokens: { class: false }, position: { kind: "none" }, pool: "avg", finalNorm: "none", classes: 0 },
  { ...tiny, name: "rotary", depth: 2, norm: { kind: "rms" }, tokens: { registers: 4 }, position: { kind: "none" }, rope: { kind: "axial", order: "xy", reference: 16, offset: 1 }, attention: { qkvBias: "qv", qkNorm: true, gate: true }, mlp: { gate: "split", norm: true }, pool: "map" },
  { ...tiny, name: "side-by-side", depth: 2, block: "parallel", rope: { kind: "mixed" }, preNorm: true, pool: "none", outputNames: { tokens: "last_hidden_state" } },
  { ...tiny, name: "behind", depth: 2, block: "post", attention: { relative: true, norm: true }, mlp: { gate: "packedLast" }, pool: "avgmax", poolPrefix: true },
  { ...tiny, name: "sines", depth: 2, position: { kind: "sincos2d" }, patchNorm: true, finalNorm: "pooled", representation: 64, batch: [1, 4] },
];
const reports = specs.map((spec) => explain(spec));

test("counts what the plan holds: vit-tiny is 5 dispatches a block, and 7 in the last, which goes on with the class token alone", () => {
  const report = explain(tiny);
  const profile = report.profiles[0]!;
  assert.is(report.parameters, 5_717_416, "timm's vit_tiny_patch16_224");
  assert.is(profile.dispatches.length, 1 + 11 * 5 + 7 + 1);
  assert.equal(profile.stages, [
    { name: "embedding", first: 0, count: 1, repeats: 1, block: null },
    { name: "blocks", first: 1, count: 5, repeats: 11, block: 0 },
    { name: "blocks", first: 56, count: 7, repeats: 1, block: 11 },
    { name: "head", first: 63, count: 1, repeats: 1, block: null },
  ]);
  const fc1 = profile.dispatches[4]!;
  assert.equal([fc1.label, fc1.kind, fc1.block, fc1.shape, fc1.reads], ["blocks.0.mlp.fc1", "matmul", 0, [197, 768], [3]]);
  assert.equal(fc1.covers, [{ name: "blocks.0.norm2", op: "layerNorm" }, { name: "blocks.0.mlp.fc1", op: "linear" }, { name: "blocks.0.mlp.act", op: "activation" }]);
  assert.ok(fc1.weightBytes >= (192 * 768 + 768) * 4 && fc1.weightBytes < (192 * 768 + 4 * 768) * 4, String(fc1.weightBytes));
  const fused = report.passes.find(({ name }) => name === "fuse-attention")!;
  assert.equal([fused.fired, fused.declined, fused.nodesBefore - fused.nodesAfter], [12, 0, 12 * 7]);
});

test("totals by kind and by block add up to the profile's", () => {
  for (const { name, profiles } of reports) {
    for (const { dispatches, flops, bytes, byKind, byBlock } of profiles) {
      for (const parts of [dispatches, byKind, byBlock]) {
        assert.is(sum(parts.map((part) => part.flops)), flops, name);
        assert.is(sum(parts.map((part) => part.bytes)), bytes, name);
      }
      for (const parts of [byKind, byBlock]) assert.is(sum(parts.map((part) => part.dispatches)), dispatches.length, name);
    }
  }
});

test("stages cover every dispatch once, in order", () => {
  for (const { name, profiles } of reports) {
    for (const { dispatches, stages } of profiles) {
      let next = 0;
      for (const { first, count, repeats } of stages) {
        assert.is(first, next, name);
        next += count * repeats;
      }
      assert.is(next, dispatches.length, name);
    }
  }
});

test("every dispatch says what it covers, and every node is covered", () => {
  for (const [i, { name, profiles }] of reports.entries()) {
    const { dispatches } = profiles[0]!;
    assert.equal(dispatches.filter(({ covers }) => covers.length === 0).map(({ label }) => label), [], name);
    const covered = new Set(dispatches.flatMap(({ covers }) => covers.map((node) => `${node.op} ${node.name}`)));
    const built = graphAt(resolve(specs[i]), "build").nodes.filter((node) => !isWeightOp(node) && node.op !== "dropout" && node.op !== "dropPath");
    assert.equal(built.map((node) => `${node.op} ${node.name}`).filter((node) => !covered.has(node)), [], name);
  }
});

test("no two values that live at once share a byte, and every read finds its value", () => {
  for (const { name, profiles } of reports) for (const profile of profiles) assert.equal(faults(profile), [], name);
});

test("the check of lifetimes sees a value that is kept for too short or moved onto another", () => {
  const profile = explain({ ...tiny, depth: 2 }).profiles[0]!;
  const change = (values: (arena: ArenaReport) => ArenaReport["values"]): ProfileReport => ({ ...profile, arenas: profile.arenas.map((arena) => ({ ...arena, values: values(arena) })) });
  assert.ok(faults(change(({ values }) => values.map((value) => ({ ...value, to: Math.min(value.to, value.from) })))).some((fault) => fault.includes("no value")));
  assert.ok(faults(change(({ values }) => values.map((value) => ({ ...value, to: value.to + 3 })))).some((fault) => fault.includes("share")));
});

/** What is wrong with the lifetimes of a profile, held against its views. */
function faults({ arenas, dispatches }: ProfileReport): string[] {
  const shared = arenas.flatMap(({ values }) =>
    values.flatMap((a, i) =>
      values.slice(i + 1).filter((b) => a.from <= b.to && b.from <= a.to && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes).map((b) => `${a.label} and ${b.label} share bytes`),
    ),
  );
  const views = dispatches.flatMap(({ index, label, views, result }: DispatchReport) =>
    views.flatMap(([buffer, offset, bytes], binding) => {
      const arena = arenas.find((candidate) => candidate.name === buffer);
      if (!arena) return [];
      // Scratch memory is behind the result.
      const made = binding >= result;
      const found = arena.values.some((value) => value.offset === offset && value.bytes === bytes && value.scratch === binding > result && (made ? value.from === index : value.from < index && index <= value.to));
      return found ? [] : [`${label}: no value at ${offset} of ${buffer}`];
    }),
  );
  return [...shared, ...views];
}

test("the report is what vitc explain --json is documented to print", () => {
  for (const report of reports) {
    const value = { ...report, spec: toSpec(report.spec), geometry: report.spec.geometry };
    assert.equal(explainShape.parse(JSON.parse(JSON.stringify(value))).profiles, report.profiles);
  }
});

test("summary, passes and routines fit 80 columns", () => {
  for (const report of [...reports, explain({ ...tiny, depth: 24, dim: 1024, heads: 16, batch: [1, 8, 64] })]) {
    for (const text of [summary(report), passesText(report.passes), routinesText(report)]) {
      // An id that is longer than a line stands alone.
      const long = text.split("\n").filter((line) => line.length > 80 && line.trim().includes(" "));
      assert.equal(long, []);
    }
  }
});

/** What a person is told of each part that a model may have, in the summary and on the page. */
const told: readonly (readonly [changes: Partial<ViTSpec>, words: readonly string[]])[] = [
  [{}, ["1 class", "learned positions", "class token", "1,000 classes"]],
  [{ tokens: { registers: 4, distillation: true } }, ["1 class + 1 distillation + 4 registers + 196 patch", "mean of class and distillation head"]],
  [{ tokens: { registers: 1 } }, ["1 register"]],
  [{ position: { kind: "sincos2d" } }, ["2-D sine positions"]],
  [{ position: { kind: "sincos1d" } }, ["1-D sine positions"]],
  [{ position: { kind: "none" } }, ["no positions"]],
  [{ rope: { kind: "axial" } }, ["learned positions", "rotary positions (axial, temperature 10,000)"]],
  [{ rope: { kind: "axial", temperature: 100, order: "xy", reference: [7, 8], offset: 1 }, position: { kind: "none" } }, ["rotary positions (axial, temperature 100, columns first, as on a grid of 7 x 8, counted from 1)"]],
  [{ rope: { kind: "mixed", temperature: 10 } }, ["rotary positions (mixed, learned by each block, temperature 10)"]],
  [{ rope: { kind: "dinov3" } }, ["rotary positions (dinov3, temperature 100)"]],
  [{ attention: { relative: true } }, ["learned biases by distance"]],
  [{ block: "post" }, ["norms behind attention and MLP"]],
  [{ block: "parallel" }, ["attention and MLP side by side, of one norm"]],
  [{ block: "parallelThings" }, ["two attentions side by side, then two MLPs"]],
  [{ attention: { qkvBias: "qv", qkNorm: true, norm: true, gate: true, projBias: false } }, ["norms of queries and keys, a norm of its heads, a gate, keys without bias, projection without bias"]],
  [{ attention: { qkvBias: false } }, ["no bias of qkv"]],
  [{ mlp: { gate: "split" } }, ["silu", "gated by a layer of its own"]],
  [{ mlp: { gate: "packed", norm: true } }, ["gated, the gate first, a norm before its second layer"]],
  [{ mlp: { gate: "packedLast", bias: false } }, ["gated, the gate last, without bias"]],
  [{ norm: { kind: "rms" }, patchNorm: true, preNorm: true }, ["RMS norms", "a norm of the patches", "a norm before the first block"]],
  [{ finalNorm: "pooled", layerScale: 0.1 }, ["the last norm behind pooling", "LayerScale from 0.1"]],
  [{ finalNorm: "none" }, ["no last norm"]],
  [{ pool: "avg" }, ["mean of patches"]],
  [{ pool: "max", poolPrefix: true }, ["maximum of all tokens"]],
  [{ pool: "avgmax" }, ["mean and maximum of patches, averaged"]],
  [{ pool: "tokenavg", headBias: false }, ["class token beside the mean of patches", "1,000 classes without bias"]],
  [{ pool: "map", mapPool: { heads: 1, hidden: 64 } }, ["a learned query's attention to patches (1 head, MLP of 64)"]],
  [{ outputs: ["blocks.*.attn", "embedding"] }, ["attention maps of all blocks", "an embedding of length 1"]],
  [{ depth: 3, outputs: ["blocks.2.attn", "blocks.0.attn"] }, ["2 attention maps"]],
  [{ pool: "none", outputNames: { tokens: "last_hidden_state" } }, ["all tokens, nothing is pooled", "197 of width 192", "tokens as last_hidden_state"]],
];

test("every part that a model may have is told in the summary and on the page", () => {
  for (const [changes, words] of told) {
    const spec = { ...tiny, depth: 1, ...changes };
    const [text, page] = [summary(explain(spec)).replaceAll(/\s+/g, " "), glance(resolve(spec)).text.replaceAll("&#39;", "'").replaceAll(/<[^>]*>/g, "\n")];
    for (const word of words) for (const shown of [text, page]) assert.ok(shown.includes(word), `${JSON.stringify(changes)}: "${word}" is not in\n${shown}`);
  }
});

test("what a model does not have is not told of it", () => {
  const plain = summary(explain({ ...tiny, depth: 1 }));
  const unsaid = told.slice(1).flatMap(([, words]) => words).filter((word) => !["learned positions", "1,000 classes", "class token", "197 of width 192"].includes(word));
  assert.equal(unsaid.filter((word) => plain.includes(word)), []);
});

test("every dispatch names its routine, and every kind of adapter takes the cheapest way that its subgroups can run", () => {
  for (const { name, routines, profiles, kernels, targets: names } of reports) {
    const known = new Map(routines.map((routine) => [routine.id, routine]));
    assert.equal(names, targets.map((target) => target.name), name);
    for (const { id, choices, taken } of routines) {
      assert.is(new Set(choices.map((choice) => choice.name)).size, choices.length, `${name}, ${id}: names are unique`);
      for (const { name: target, subgroupSize } of targets) {
        const runs = choices.filter((choice) => choice.subgroupSize === null || choice.subgroupSize === subgroupSize);
        assert.is(choices.find((choice) => choice.name === taken[target])!.costs[target], Math.min(...runs.map(({ costs }) => costs[target]!)), `${name}, ${id} on ${target}`);
      }
    }
    for (const { dispatches, expected } of profiles) {
      const taken = (target: string, routine: string): number => known.get(routine)!.choices.find((choice) => choice.name === known.get(routine)!.taken[target])!.costs[target]!;
      for (const target of names) assert.ok(Math.abs(expected[target]! - sum(dispatches.map(({ routine }) => taken(target, routine)))) < 1e-6 * expected[target]!, `${name} on ${target}`);
    }
    const launched = new Set(routines.flatMap(({ choices }) => choices.flatMap(({ launches }) => launches.map(({ kernel }) => kernel))));
    assert.equal(kernels.map(({ id }) => id).toSorted(), [...launched].toSorted(), `${name}: every kernel is of some way`);
    assert.is(sum(routines.map(({ dispatches }) => dispatches)), sum(profiles.map(({ dispatches }) => dispatches.length)), name);
  }
});

test("a dtype has a plan of its own, half as large", () => {
  const [f32, f16] = (["f32", "f16"] as const).map((dtype) => explain({ ...tiny, depth: 2 }, { dtype }));
  assert.equal([f32!.dtype, f16!.dtype], ["f32", "f16"]);
  assert.not.equal(f32!.fingerprint, f16!.fingerprint);
  assert.ok(f16!.weights.bytes < 0.6 * f32!.weights.bytes);
  assert.ok(f16!.routines.some(({ choices }) => choices.every(({ features }) => features.includes("shader-f16"))));
});

test("the graph can be seen at every stage", () => {
  const spec = resolve({ ...tiny, depth: 2 });
  const sizes = graphStages.map((stage) => graphAt(spec, stage).nodes.length);
  assert.is(sizes[0], explain({ ...tiny, depth: 2 }).graph.built.nodes);
  assert.is(sizes[sizes.length - 1], sizes[sizes.length - 2]);
  assert.ok(sizes[sizes.length - 1]! < sizes[0]!);
});

test("what a pass says of equal blocks is said once, with a range where a number rises", () => {
  const { passes } = explain({ ...tiny, depth: 5, dropout: { path: 0.1 } });
  assert.equal(groupEvents(passes.find(({ name }) => name === "inference")!.events), [
    { node: "blocks.*.drop_path1", fired: true, reason: "dropPath at rate 0.025 to 0.1 removed", count: 4 },
    { node: "blocks.*.drop_path2", fired: true, reason: "dropPath at rate 0.025 to 0.1 removed", count: 4 },
  ]);
});

test("the page is well-formed and asks for nothing outside of itself", () => {
  for (const report of reports) {
    const page = html(report);
    assert.is(malformed(page), undefined, report.name);
    assert.not.match(page, /https?:|url\((?!#)|@import|<(?:img|iframe|object|embed|script src)/);
    for (const [, target] of page.matchAll(/(?:href|src)="([^"]*)"/g)) assert.match(target!, /^(#[\w.-]+|data:,)$/);
    const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id!);
    assert.is(new Set(ids).size, ids.length, `${report.name}: an id is given twice`);
    for (const [, target] of page.matchAll(/href="#([^"]*)"/g)) assert.ok(ids.includes(target!), target);
  }
});

test("the check of the page sees a tag that is not closed", () => {
  assert.match(malformed("<p><b>text</p>") ?? "", "</p> closes <b>");
  assert.match(malformed("<div><p>text</p>") ?? "", "<div> is not closed");
});

test("hostile names stay text", () => {
  const hostile = `</script><script>alert(1)</script>"'><img src=x onerror=alert(1)>&`;
  const report = explain({ ...tiny, depth: 1, classes: 2, labels: [hostile, "safe"] });
  const poisoned: Report = {
    ...report,
    name: hostile,
    passes: report.passes.map((pass) => ({ ...pass, why: hostile, events: [{ node: hostile, fired: false, reason: hostile }] })),
    kernels: report.kernels.map((kernel) => ({ ...kernel, code: hostile })),
  };
  const page = html(poisoned);
  assert.is(malformed(page), undefined);
  assert.is(page.match(/<script/g)!.length, 1);
  assert.not.match(page, "<img");
  assert.match(page, "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img src=x onerror=alert(1)&gt;&amp;");
});

test("the page is as long at depth 24 as at depth 12", () => {
  const [shallow, deep] = [12, 24].map((depth) => html(explain({ ...tiny, depth })));
  assert.ok(deep!.length < shallow!.length * 1.05, `${shallow!.length} and ${deep!.length} characters`);
});

const voidTags = new Set(["meta", "link", "input", "br", "!doctype"]);

/** The first tag of a page that is closed in the wrong place, or not at all. */
function malformed(page: string): string | undefined {
  const open: string[] = [];
  const body = page.replaceAll(/(<(style|script)>)[\s\S]*?(?=<\/\2>)/g, "$1");
  for (const [, close, name, attributes, selfClosed] of body.matchAll(/<(\/?)([a-zA-Z!][\w-]*)((?:\s+[\w-]+(?:="[^"<]*")?)*)\s*(\/?)>/g)) {
    const tag = name!.toLowerCase();
    if (close) {
      const last = open.pop();
      if (last !== tag) return `</${tag}> closes <${last}>`;
    } else if (!voidTags.has(tag) && !selfClosed) open.push(tag);
    if (attributes && new Set(attributes.match(/[\w-]+(?==)/g)).size < (attributes.match(/[\w-]+="/g) ?? []).length) return `<${tag}> has an attribute twice`;
  }
  if (open.length > 0) return `<${open[open.length - 1]}> is not closed`;
  // What looks like a tag and was not matched above has a broken attribute.
  const tags = (body.match(/<[a-zA-Z/!]/g) ?? []).length;
  const matched = [...body.matchAll(/<(\/?)([a-zA-Z!][\w-]*)((?:\s+[\w-]+(?:="[^"<]*")?)*)\s*(\/?)>/g)].length;
  return tags === matched ? undefined : `${tags - matched} tags are broken`;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

test.run();

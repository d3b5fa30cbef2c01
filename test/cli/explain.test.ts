import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { explainGraphShape, explainKernelsShape, explainPassesShape, explainPlanShape, explainRoutinesShape, explainShape } from "../../compiler/cli/json-explain.js";
import { print } from "../../compiler/ir/print.js";
import { graphAt } from "../../compiler/explain/stages.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { suite } from "../tools/suite.js";
import { folderWith, small, specText, vitc } from "./vitc.js";

const test = suite("vitc explain");

const cwd = folderWith({ "my.ts": specText() });
const resolved = resolve(small);
const { plan, kernels } = makePlan(resolved);
const shortest = kernels.map(({ id }) => id).reduce((a, b) => (b.length < a.length ? b : a));

async function explained(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await vitc(["explain", "my.ts", ...args], { cwd });
  assert.is(code, 0, stderr);
  return stdout;
}

const json = async (...args: readonly string[]): Promise<unknown> => JSON.parse(await explained(...args, "--json"));

test("prints a summary, and the report as JSON", async () => {
  const text = await explained();
  assert.match(text, `small  (plan ${plan.fingerprint})`);
  assert.match(text, /image +3 x 32 x 32/);
  assert.match(text, /fuse-attention +fired 2/);
  const report = explainShape.parse(await json());
  assert.equal([report.fingerprint, report.profiles[0]!.dispatches.length], [plan.fingerprint, plan.programs.infer[0]!.dispatches.length]);
});

test("prints every stage by name", async () => {
  assert.is(await explained("--emit", "graph", "--pass", "build"), print(graphAt(resolved, "build")));
  assert.is(await explained("--emit", "graph"), print(graphAt(resolved, "lowered")));
  const graph = explainGraphShape.parse(await json("--emit", "graph", "--pass", "fuse-attention"));
  assert.equal([graph.stage, graph.nodes.filter(({ op }) => op === "attention").length], ["fuse-attention", 2]);
  assert.is(resolve(JSON.parse(await explained("--emit", "spec"))).mlp.hidden, 128);
  assert.match(await explained("--emit", "passes"), "fired at blocks.*.attn (2 times)");
  assert.ok(explainPassesShape.parse(await json("--emit", "passes")).passes.length > 5);
  const wgsl = await explained("--emit", "wgsl", "--kernel", kernels[0]!.id);
  const [said, ...code] = wgsl.split("\n");
  assert.match(said!, new RegExp(`^// ${kernels[0]!.id}: for 1 dispatch, taken (on [a-z0-9, -]+|by nobody untuned)$`));
  assert.is(code.join("\n"), `${kernels[0]!.code}\n`);
  assert.equal(explainKernelsShape.parse(await json("--emit", "wgsl")).kernels.map(({ code }) => code), kernels.map(({ code }) => code));
});

test("tells which way to do a dispatch each kind of adapter takes, and what it is expected to cost", async () => {
  const text = await explained();
  const fc1 = plan.routines.find(({ id }) => id === plan.programs.infer[0]!.dispatches.find(({ label }) => label === "blocks.0.mlp.fc1")!.routine)!;
  const section = text.slice(text.indexOf("\n  blocks.0.mlp.fc1\n"));
  assert.match(section, new RegExp(`^\\n  blocks\\.0\\.mlp\\.fc1\\n(    (${fc1.choices.map(({ name }) => name).join("|")}) +[a-z].*\\n)+`));
  for (const target of plan.targets) assert.ok(text.replaceAll(/\s+/g, " ").includes(`s on ${target}`), target);
  const { routines, targets } = explainRoutinesShape.parse(await json("--emit", "routines"));
  assert.equal(targets, plan.targets);
  assert.equal(routines.map(({ id, choices }) => [id, choices.map(({ name, costs }) => [name, targets.map((target) => costs[target])])]), plan.routines.map(({ id, choices }) => [id, choices.map(({ name, costs }) => [name, costs])]));
  const all = await explained("--emit", "routines");
  for (const { id, choices } of plan.routines) assert.ok(all.includes(id) && choices.every(({ name }) => all.includes(name)), id);
});

test("--dtype explains the plan of that dtype", async () => {
  const report = explainShape.parse(await json("--dtype", "f16"));
  const half = makePlan(resolved, { dtype: "f16" }).plan;
  assert.equal([report.dtype, report.fingerprint], ["f16", half.fingerprint]);
  assert.equal(report.kernels.map(({ id }) => id), half.kernels.map(({ id }) => id));
});

test("--emit plan --json is the plan, with the first batch size on top", async () => {
  const { dispatches, arenas, moreBatches, batch } = explainPlanShape.parse(await json("--emit", "plan", "--batch", "1,4"));
  const [first, second] = makePlan(resolve({ ...small, batch: [1, 4] })).plan.programs.infer;
  assert.equal([batch, dispatches, arenas], [1, first!.dispatches, first!.arenas]);
  assert.equal(moreBatches, [second]);
  assert.match(await explained("--emit", "plan"), 'label: "blocks.1.mlp.fc1"');
});

test("--html writes one whole page, by default under the spec's name", async () => {
  assert.is(await explained("--html"), "small.html\n");
  const page = readFileSync(join(cwd, "small.html"), "utf8");
  assert.match(page, /^<!doctype html>[\s\S]*<\/html>\n$/);
  assert.equal(readdirSync(cwd).toSorted(), ["my.ts", "small.html"]);
});

test("--html replaces a page of vitc, and a file of somebody else only with --force", async () => {
  const page = join(cwd, "page.html");
  await explained("--html", "page.html");
  const ours = readFileSync(page, "utf8");
  // Whatever differs in it, as after a change of the spec.
  writeFileSync(page, ours.replace("<main>", `<main>${"old ".repeat(50_000)}`));
  await explained("--html", "page.html");
  assert.is(readFileSync(page, "utf8"), ours);
  for (const theirs of ["", "<!doctype html>\n<title>mine</title>\n"]) {
    writeFileSync(page, theirs);
    const { code, stdout, stderr } = await vitc(["explain", "my.ts", "--html", "page.html"], { cwd });
    assert.equal([code, stdout, stderr], [1, "", "error: --html page.html: a file that vitc did not write is there already: name another, or replace it with --force\n"]);
    assert.is(readFileSync(page, "utf8"), theirs);
  }
  assert.is(await explained("--html", "page.html", "--force"), "page.html\n");
  assert.is(readFileSync(page, "utf8"), ours);
});

test("mistakes are refused with what would be right", async () => {
  const refused = async (args: readonly string[], sentence: string | RegExp): Promise<void> => {
    const { code, stdout, stderr } = await vitc(["explain", ...args], { cwd });
    assert.equal([code, stdout], [1, ""], stderr);
    assert.match(stderr, sentence);
  };
  await Promise.all([
    refused(["my.ts", "--emit", "graph", "--pass", "fuse"], /Allowed choices are build, .*lowered/),
    refused(["my.ts", "--pass", "build"], "add --emit graph"),
    refused(["my.ts", "--emit", "wgsl", "--kernel", `${shortest}x`], `did you mean ${shortest}?`),
  ]);
  await Promise.all([
    refused(["my.ts", "--html", "my.ts"], "must end in .html"),
    refused(["my.ts", "--html", "none/page.html"], "there is no folder none"),
    refused(["my.ts", "--batch", "0"], "batch"),
    refused(["my.ts", "--dtype", "f8"], /Allowed choices are f32, f16/),
  ]);
  assert.is(readFileSync(join(cwd, "my.ts"), "utf8"), specText());
});

test.run();

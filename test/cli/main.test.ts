import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { UserError, type Cli } from "../../compiler/cli/context.js";
import { reportError } from "../../compiler/cli/errors.js";
import { table } from "../../compiler/cli/format.js";
import { jsonSchemaOf, jsonShapes } from "../../compiler/cli/json.js";
import { processCli } from "../../compiler/cli/output.js";
import { OutputFolderError } from "../../compiler/emit/write.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { version } from "../../compiler/version.js";
import { AdapterError, VitcError } from "../../runtime/errors.js";
import { builtMain } from "../tools/built.js";
import { suite } from "../tools/suite.js";
import { folderWith, small, vitc } from "./vitc.js";

const test = suite("vitc");
const cwd = folderWith({});
const names = ["init", "compile", "run", "eval", "explain", "diff", "check", "init-weights", "pack", "export", "doctor", "schema"];

test("explains itself on stdout, in 80 columns, without colour in a pipe", async () => {
  const bare = await vitc([], { cwd });
  assert.equal([bare.code, bare.stderr], [0, ""]);
  for (const name of names) assert.match(bare.stdout, new RegExp(`^  ${name} `, "m"));
  assert.not.match(bare.stdout, /\u001b/);
  assert.is((await vitc(["--help"], { cwd })).stdout, bare.stdout);
  assert.is((await vitc(["--version"], { cwd })).stdout, `${version}\n`);

  const helps = await Promise.all(names.map((name) => vitc([name, "--help"], { cwd })));
  for (const { code, stdout } of helps) {
    assert.is(code, 0);
    assert.match(stdout, /^Usage: vitc /);
    assert.match(stdout, /^ +--json +\S/m);
    assert.match(stdout, /\nExamples:\n +\$ vitc /);
  }
  // Examples are to be copied, each on its line.
  const wide = [bare, ...helps].flatMap(({ stdout }) => stdout.split("\n")).filter((line) => line.length > 80 && !line.includes("$ vitc"));
  assert.equal(wide, []);
});

test("colours where it is asked to, and never against NO_COLOR", async () => {
  const forced = await vitc(["--help"], { cwd, env: { FORCE_COLOR: "1" } });
  assert.match(forced.stdout, /\u001b\[1mUsage:/);
  const neither = await vitc(["schema", "nothing"], { cwd, env: { FORCE_COLOR: "1", NO_COLOR: "1" } });
  assert.not.match(neither.stderr, /\u001b/);
  for (const args of [["schema", "nothing"], ["--nothing"]]) {
    const { stderr } = await vitc(args, { cwd, env: { FORCE_COLOR: "1" } });
    assert.match(stderr, /^\u001b\[31m\u001b\[1merror:/);
  }
});

test("names what was meant, on stderr, with exit code 1", async () => {
  for (const [args, sentence] of [
    [["compil"], /error: unknown command 'compil'\n\(Did you mean compile\?\)/],
    [["--jsn"], /error: unknown option '--jsn'/],
    [["doctor", "--jsn"], /error: unknown option '--jsn'\n\(Did you mean --json\?\)/],
    [["compile"], /error: missing required argument 'spec'/],
    [["schema", "compil"], /error: there is no schema "compil"; did you mean compile\?/],
  ] as const) {
    const { code, stdout, stderr } = await vitc(args, { cwd });
    assert.equal([args, code, stdout], [args, 1, ""]);
    assert.match(stderr, sentence);
  }
});

test("schema prints a schema for a spec and for every --json, with each field described", async () => {
  const listed = await vitc(["schema", "--json"], { cwd });
  assert.equal(jsonShapes.schema.parse(JSON.parse(listed.stdout)).names, ["spec", ...Object.keys(jsonShapes)]);
  const spec = await vitc(["schema", "spec"], { cwd });
  assert.equal(JSON.parse(spec.stdout), jsonSchemaOf("spec"));
  for (const name of Object.keys(jsonShapes) as (keyof typeof jsonShapes)[]) assert.is((jsonSchemaOf(name) as { type?: string }).type, "object");
});

test("ends quietly when nobody reads on", async () => {
  const main = await builtMain();
  const child = spawn(process.execPath, [main, "schema", "spec"], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise((done) => child.on("close", done));
  assert.equal([code, stderr], [0, ""]);
});

test("works on when nobody hears its talk", async () => {
  const main = await builtMain();
  const quiet = async (args: readonly string[]): Promise<readonly [number | null, string]> => {
    const child = spawn(process.execPath, [main, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    child.stderr.destroy();
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    return [await new Promise<number | null>((done) => child.on("close", done)), stdout];
  };
  const folder = folderWith({ "my.json": JSON.stringify(small) });
  const [code, stdout] = await quiet(["compile", join(folder, "my.json"), "--out", join(folder, "out"), "--no-typecheck"]);
  assert.equal([code, existsSync(join(folder, "out", "index.js"))], [0, true]);
  assert.match(stdout, /files, \d+ written/);
  assert.is((await quiet(["schema", "nothing"]))[0], 1);
});

test("tells mistakes, bugs and interrupts apart", () => {
  const heard = (error: unknown): [number, string] => {
    let text = "";
    const cli: Pick<Cli, "say"> = { say: (line) => (text += `${line}\n`) };
    return [reportError(error, cli), text];
  };
  for (const mistake of [new UserError("why"), new OutputFolderError("why"), new AdapterError("why"), new VitcError("limits", "why"), Object.assign(new Error("why"), { code: "ENOSPC" })]) {
    assert.equal(heard(mistake), [1, "error: why\n"]);
  }
  // As thrown by another copy of the package.
  assert.equal(heard(Object.assign(new Error("why"), { name: "SpecError" })), [1, "error: why\n"]);
  assert.equal(heard(new SpecError([{ field: "heads", message: "why" }])), [1, "error: heads: why\n"]);
  for (const bug of [new TypeError("oops"), new VitcError("validation", "oops"), Object.assign(new Error("oops"), { code: "ENOENT" })]) {
    const [code, text] = heard(bug);
    assert.is(code, 2);
    assert.match(text, /^error: oops\nThis is a bug in vitc, not in what you gave it\. Please report it .*\n {2}node v.*\n {2}\w*Error: oops\n {6}at /);
  }
});

test("refuses to print JSON that is not of its documented shape", () => {
  assert.throws(() => processCli().json(jsonShapes.schema as never, { names: [1] }), /names/);
});

test("a step shows itself after a second, and not before", async () => {
  const write = process.stderr.write.bind(process.stderr);
  const lines: string[] = [];
  process.stderr.write = (text: string | Uint8Array) => lines.push(String(text)) > 0;
  try {
    const quick = processCli().progress("quick");
    quick.update(0.5, "half");
    quick.done();
    const slow = processCli().progress("slow");
    slow.update(0.25, "a part");
    await new Promise((done) => setTimeout(done, 1100));
    slow.update(0.5, "another");
    slow.done();
  } finally {
    process.stderr.write = write;
  }
  const shown = lines.join("");
  assert.not.match(shown, /quick/);
  assert.match(shown, /slow 25% a part/);
});

test("sets numbers to the right and names to the left", () => {
  assert.is(table([["name", "count"], ["a", "1"], ["long", "1,000"]]), "name  count\na         1\nlong  1,000");
});

test.run();

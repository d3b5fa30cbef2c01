import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { expectGolden, orphans } from "../tools/golden.js";
import { suite } from "../tools/suite.js";

const test = suite("test runner");

const repository = fileURLToPath(new URL("../..", import.meta.url));
const uvu = `import { test } from ${JSON.stringify(import.meta.resolve("uvu"))};\n`;
const ours = `import { suite, skipAll } from ${JSON.stringify(new URL("../tools/suite.ts", import.meta.url).href)};\n`;
const passing = `${uvu}test("passes", () => {});\ntest.run();\n`;

interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly lastLine: string;
}

/** Runs the runner on suites that are written into a temporary folder, which stands for `test`. */
async function runOn(files: Readonly<Record<string, string>>, ...options: string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "vitc-runner-"));
  try {
    for (const [name, text] of Object.entries({ "package.json": '{ "type": "module" }', ...files })) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return await new Promise((done) => {
      const args = ["--import", "tsx", "test/tools/run.ts", "--root", folder, ...options];
      execFile(process.execPath, args, { cwd: repository, timeout: 60_000 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
        done({ code, output: stdout + stderr, lastLine: stdout.trimEnd().split("\n").at(-1) ?? "" });
      });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("is green when every test passes, shared or alone in a process", async () => {
  const { code, lastLine, output } = await runOn({ "unit/a.test.ts": passing, "unit/b.test.ts": passing, "device/c.test.ts": passing });
  assert.is(lastLine, "3 passed, 0 failed, 0 skipped", output);
  assert.is(code, 0);
});

test("is red for a failing assertion, with the suite's output, and still counts the rest", async () => {
  const failing = `${uvu}test("adds", () => { throw new Error("one and one is three"); });\ntest("passes", () => {});\ntest.run();\n`;
  const { code, lastLine, output } = await runOn({ "unit/a.test.ts": failing, "unit/b.test.ts": passing });
  assert.is(lastLine, "2 passed, 1 failed, 0 skipped", output);
  assert.is(code, 1);
  assert.match(output, "one and one is three");
});

test("is red for a crash, names the signal, keeps what was printed, and runs what shared the process", async () => {
  const crashing = `${uvu}console.log("just before");\ntest("crashes", () => { process.kill(process.pid, "SIGSEGV"); for (;;); });\ntest.run();\n`;
  const { code, lastLine, output } = await runOn({ "unit/a.test.ts": crashing, "unit/b.test.ts": passing, "unit/c.test.ts": passing });
  assert.is(lastLine, "2 passed, 1 failed, 0 skipped", output);
  assert.is(code, 1);
  assert.match(output, "by SIGSEGV");
  assert.match(output, "just before");
});

test("is red for a crash after the tests", async () => {
  const { code, lastLine, output } = await runOn({ "device/a.test.ts": `${passing}process.on("exit", () => process.kill(process.pid, "SIGABRT"));\n` });
  assert.is(lastLine, "1 passed, 1 failed, 0 skipped", output);
  assert.is(code, 1);
  assert.match(output, "by SIGABRT after the tests");
});

test("kills a suite that takes too long and a process that does not end, and runs the rest", async () => {
  const files = {
    "device/a.test.ts": `${uvu}test("hangs", () => { for (;;); });\ntest.run();\n`,
    "device/b.test.ts": `${passing}setInterval(() => {}, 1000);\n`,
    "device/c.test.ts": passing,
  };
  const { code, lastLine, output } = await runOn(files, "--timeout", "3000");
  assert.is(lastLine, "2 passed, 2 failed, 0 skipped", output);
  assert.is(code, 1);
  assert.match(output, "longer than 3 s");
  assert.match(output, "something is still open");
});

test("is red when .run() is forgotten, by uvu's suite and by one of two of ours", async () => {
  const bare = `${uvu}test("never runs", () => {});\n`;
  const one = `${ours}const a = suite("first"), b = suite("second");\na("runs", () => {});\nb("never runs", () => {});\na.run();\n`;
  const { code, lastLine, output } = await runOn({ "unit/a.test.ts": bare, "device/b.test.ts": one });
  assert.is(lastLine, "1 passed, 2 failed, 0 skipped", output);
  assert.is(code, 1);
  assert.match(output, "a.test.ts: it ran no test");
  assert.match(output, ".run() is missing for second");
});

test("leaves the long suites to --long, and lets a pattern name any", async () => {
  const files = { "unit/a.test.ts": passing, "numerics/gemm.test.ts": passing };
  const ran = async (...options: string[]): Promise<readonly boolean[]> => {
    const { output } = await runOn(files, ...options);
    return [/pass {2}\S*unit\/a\.test\.ts/.test(output), /pass {2}\S*numerics\/gemm\.test\.ts/.test(output)];
  };
  assert.equal(await Promise.all([ran(), ran("--long"), ran("gemm"), ran("unit")]), [[true, false], [false, true], [false, true], [true, false]]);
});

test("is red when a hook throws, which uvu itself calls a success", async () => {
  const { code, lastLine, output } = await runOn({ "unit/a.test.ts": `${uvu}test.before(() => { throw new Error("no"); });\ntest("never runs", () => {});\ntest.run();\n` });
  assert.is(lastLine, "0 passed, 1 failed, 0 skipped", output);
  assert.is(code, 1);
});

test("is red when a suite does not load, ends early, or leaves a rejection behind", async () => {
  const files = {
    "unit/a.test.ts": "import './absent.js';\n",
    "unit/b.test.ts": `${uvu}test("exits", () => process.exit(0));\ntest.run();\n`,
    "device/c.test.ts": `${uvu}test("rejects", () => { setTimeout(() => { void Promise.reject(new Error("left behind")); }, 50); });\ntest.run();\n`,
  };
  const { code, lastLine, output } = await runOn(files);
  assert.is(lastLine, "1 passed, 3 failed, 0 skipped", output);
  assert.is(code, 1);
  assert.match(output, "left behind");
});

test("counts skips and lists their reasons", async () => {
  const files = {
    "browser/a.test.ts": `${ours}skipAll("the page", "no browser\\n on this machine");\n`,
    "unit/b.test.ts": `${uvu}test.skip("later", () => {});\ntest("passes", () => {});\ntest.run();\n`,
  };
  const { code, lastLine, output } = await runOn(files);
  assert.is(lastLine, "1 passed, 0 failed, 2 skipped", output);
  assert.is(code, 0);
  assert.match(output, "the page: no browser on this machine");
});

test("filters by pattern, and is red when nothing matches or nothing ran", async () => {
  const files = { "unit/a.test.ts": passing, "unit/b.test.ts": passing, "browser/c.test.ts": `${ours}skipAll("c", "no browser");\n` };
  assert.is((await runOn(files, "unit/a")).lastLine, "1 passed, 0 failed, 0 skipped");
  const none = await runOn(files, "unit/z");
  assert.is(none.code, 1);
  assert.match(none.output, "no suite matches unit/z");
  assert.is((await runOn(files, "browser")).code, 1);
});

test("a golden file is compared, rewritten on UPDATE=1, and missed when nobody asserts it", () => {
  const root = mkdtempSync(join(tmpdir(), "vitc-golden-"));
  const update = process.env["UPDATE"];
  try {
    process.env["UPDATE"] = "1";
    expectGolden("plans/a.txt", "one\ntwo\nthree\n", root);
    expectGolden("plans/b.txt", "b\n", root);
    delete process.env["UPDATE"];
    expectGolden("plans/a.txt", "one\ntwo\nthree\n", root);
    assert.throws(() => expectGolden("plans/a.txt", "one\n2\nthree\n", root), /line 2:\n {2}one\n- two\n- three\n- \n\+ 2/);
    assert.throws(() => expectGolden("plans/c.txt", "c\n", root), /UPDATE=1/);
    assert.throws(() => expectGolden("../a.txt", "", root), /relative/);
    assert.is(readFileSync(join(root, "plans/a.txt"), "utf8"), "one\ntwo\nthree\n");
    assert.equal(orphans("plans", new Set(["plans/a.txt"]), root), ["plans/b.txt"]);
  } finally {
    if (update === undefined) delete process.env["UPDATE"];
    else process.env["UPDATE"] = update;
    rmSync(root, { recursive: true, force: true });
  }
});

test.run();

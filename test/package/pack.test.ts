import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { softwareReason } from "../tools/adapter.js";
import { fixturePath } from "../tools/fixtures.js";
import { skipAll, suite } from "../tools/suite.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Outside the repository, so that nothing of it can be found by accident.
const folder = mkdtempSync(join(tmpdir(), "vitc-pack-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

interface Result { readonly status: number | null; readonly stdout: string; readonly stderr: string }

function run(command: string, args: readonly string[], cwd: string): Result {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 300_000, env: { ...process.env, npm_config_audit: "false", npm_config_fund: "false", npm_config_prefer_offline: "true" } });
  return { status, stdout, stderr };
}

function must(command: string, args: readonly string[], cwd: string): Result {
  const result = run(command, args, cwd);
  assert.is(result.status, 0, `${command} ${args.join(" ")}\n${result.stdout}\n${result.stderr}`);
  return result;
}

/** Packs this repository and installs the tarball, with webgpu, in an empty folder. */
function install(): { project: string } | { reason: string } {
  const packed = must("npm", ["pack", "--pack-destination", folder], root);
  const tarball = packed.stdout.trim().split("\n").pop()!;
  const project = join(folder, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const installed = run("npm", ["install", join(folder, tarball), "webgpu@0.6.2"], project);
  if (installed.status !== 0) {
    const offline = /ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH/.test(installed.stderr);
    if (offline) return { reason: "npm reaches no registry to install the tarball's dependencies from" };
    throw new Error(installed.stderr);
  }
  // The software adapter, for machines without a GPU: a user would npm install it.
  mkdirSync(join(project, "node_modules/@sparticuz"), { recursive: true });
  const chromium = dirname(dirname(dirname(fileURLToPath(import.meta.resolve("@sparticuz/chromium")))));
  if (!existsSync(join(project, "node_modules/@sparticuz/chromium"))) symlinkSync(chromium, join(project, "node_modules/@sparticuz/chromium"));
  return { project };
}

const reason = await softwareReason();
const installed = reason === undefined ? install() : { reason };
if ("reason" in installed) skipAll("the published package", installed.reason);
else {
  const { project } = installed;
  const test = suite("the published package");
  const vitc = (...args: string[]): Result => must("npx", ["--no-install", "vitc", ...args], project);

  test("holds what it needs and no tests, specs or fixtures", () => {
    const files = readdirSync(join(project, "node_modules/vitc"));
    assert.equal(files.toSorted(), ["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json", "runtime"]);
  });

  test("from an empty folder: init, compile, initial weights, run", () => {
    vitc("init");
    const spec = readdirSync(project).find((file) => file.endsWith(".ts"))!;
    vitc("compile", spec, "--out", "generated/mine");
    vitc("init-weights", spec, "--out", "generated/mine/model.safetensors", "--seed", "1");
    const { stdout, stderr } = vitc("run", "generated/mine", "--input", fixturePath("vit-cifar10/photos/cat-04.png"), "--adapter", "software", "--json");
    assert.match(stderr, "CPU runtime");
    assert.ok(JSON.parse(stdout));
  });

  test("a script of the user's imports the generated package and the typed API", () => {
    writeFileSync(
      join(project, "main.mjs"),
      `import { compile, defineViT, SpecError, version } from "vitc";
       import { load } from "./generated/mine/index.js";
       const model = await load({ weights: "generated/mine/model.safetensors", adapter: "software", onNotice: () => {} });
       const { logits } = await model.run(new Float32Array(2 * 3 * 224 * 224).fill(0.25));
       model.dispose();
       let refused;
       try { defineViT({ name: "x", image: 224, patch: 16, dim: 10, depth: 1, heads: 3 }); } catch (error) { refused = error instanceof SpecError; }
       console.log(JSON.stringify({ shape: logits.shape, equal: logits[0] === logits[1000], refused, compile: typeof compile, version }));`,
    );
    const { stdout } = must(process.execPath, ["main.mjs"], project);
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    assert.equal(JSON.parse(stdout), { shape: [2, 1000], equal: true, refused: true, compile: "function", version });
  });

  test("a mistake is a sentence and exit code 1", () => {
    writeFileSync(join(project, "wrong.json"), JSON.stringify({ name: "wrong", image: 224, patch: 16, dim: 192, depth: 12, heads: 5 }));
    const { status, stderr } = run("npx", ["--no-install", "vitc", "compile", "wrong.json"], project);
    assert.is(status, 1);
    assert.match(stderr, "5 does not divide dim 192; use 4 or 6 heads");
    assert.not.match(stderr, / at .*\.js:\d+/);
  });

  test.run();
}

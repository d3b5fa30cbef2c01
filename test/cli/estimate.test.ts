import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { timeText } from "../../compiler/cli/estimate.js";
import { estimateShape } from "../../compiler/cli/json-estimate.js";
import { compile } from "../../compiler/compile.js";
import { findSoftwareAdapter } from "../../runtime/node.js";
import { skipAll, suite } from "../tools/suite.js";
import { folderWith, small, vitc } from "./vitc.js";

/** Packages look for webgpu and for the software adapter from here, as they would in a project that has installed them. */
const cwd = fileURLToPath(new URL("../..", import.meta.url));

const root = folderWith({});
const { files } = await compile({ ...small, batch: [1, 2] }, { typecheck: false });

/** Writes the package, with another index.js where one is given. */
function packageOf(name: string, index?: string): string {
  const folder = join(root, name);
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), path === "index.js" ? (index ?? text) : text);
  }
  return folder;
}

const folder = packageOf("package");

const refusals = suite("vitc estimate, refusals");

async function refused(args: readonly string[], sentence: RegExp): Promise<void> {
  const { code, stdout, stderr } = await vitc(["estimate", ...args], { cwd });
  assert.equal([args, code, stdout], [args, 1, ""], stderr);
  assert.match(stderr, sentence);
  assert.not.match(stderr, /\n\s+at /);
}

refusals("what cannot be estimated is refused before an adapter is asked for", async () => {
  await Promise.all([
    refused([join(folder, "absent")], /there is no folder .*vitc compile SPEC/),
    refused([folder, "--batch", "0"], /from 1 to 100000/),
    refused([folder, "--batch", "two"], /whole number/),
    refused([folder, "--dtype", "f16"], /--dtype f16: .* was compiled for f32; compile it for this one too with/),
  ]);
  await Promise.all([
    refused([folder, "--fast", "-1"], /number of milliseconds above 0/),
    refused([folder, "--fast", "50", "--slow", "20"], /--slow 20 is below --fast 50/),
    refused([folder, "--adapter", "null"], /Allowed choices are auto, gpu, software/),
  ]);
});

refusals("a package of a vitc that had no estimates is refused with the command that makes it again", async () => {
  const index = files.get("index.js")!;
  const old = index.replace("export function estimate", "function estimate");
  assert.is.not(old, index);
  await refused([packageOf("old", old)], /has no estimate: an earlier vitc compiled it\. Compile it again: npx vitc compile SPEC --out/);
});

refusals("a time and its band stand in one unit", () => {
  assert.equal([timeText({ ms: 10_500, low: 6082, high: 18_500 }), timeText({ ms: 9000, low: 900, high: 12_000 }), timeText({ ms: 4, low: 2, high: 8 })], ["10.5 s (6.08 s to 18.5 s)", "9.00 s (0.900 s to 12.0 s)", "4.00 ms (2.00 ms to 8.00 ms)"]);
});

refusals.run();

const software = await findSoftwareAdapter();
if ("reason" in software) skipAll("vitc estimate", software.reason);
else {
  const test = suite("vitc estimate");

  test("tells milliseconds, megabytes and a verdict, in words and as JSON", async () => {
    const { code, stdout, stderr } = await vitc(["estimate", folder, "--adapter", "software"], { cwd });
    assert.is(code, 0, stderr);
    assert.match(stdout, /^\S+ in f32, batch 1, on .+ \(software\)\n\nslow {8}about \S+ ms an image on .*, a software adapter, where a CPU runtime would be faster\nrun {9}\S+ ms \(\S+ ms to \S+ ms\), \S+ images\/s\ndownload {4}\S+ MB of weights if the file holds f32, \S+ MB if f16\nGPU memory {2}\S+ MB\n$/);
    assert.match(stderr, /software adapter/);
    const json = await vitc(["estimate", folder, "--adapter", "software", "--batch", "3", "--json"], { cwd });
    assert.is(json.code, 0, json.stderr);
    const report = estimateShape.parse(JSON.parse(json.stdout));
    assert.equal([report.batch, report.dtype, report.package, report.verdict, report.adapter.software], [3, "f32", folder, "slow", true]);
    assert.ok(report.low < report.milliseconds && report.milliseconds < report.high);
    assert.ok(Math.abs(report.imagesPerSecond - 3000 / report.milliseconds) < 1e-9);
    assert.is(report.megabytes.download.f16, report.megabytes.download.f32 / 2);
  });

  test.run();
}

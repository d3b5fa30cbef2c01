/**
 * The WGSL of some examples, kernel by kernel, as files that a reviewer can read and compare: test/golden/<spec>/<kernel>.wgsl.
 * Together they use every kernel and most of its forms; that all WGSL is valid is shown on Dawn's null device.
 */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { asserted, expectGolden, orphans } from "../tools/golden.js";
import { exampleSpecs } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("golden WGSL");

const chosen = ["vit-tiny-patch16-224", "deit-tiny-distilled-patch16-224", "vit-cifar10", "vit-hybrid-stem-64", "vit-wide-96x160"];

const used = new Set<string>();

for (const name of chosen) {
  test(`${name} has the kernels it had`, () => {
    // One profile: others have the same kernels in other sizes.
    const { kernels } = makePlan(resolve({ ...exampleSpecs.get(name), batch: 1 }));
    assert.ok(kernels.length >= 8);
    for (const { id, code } of kernels) {
      const path = `${name}/${id}.wgsl`;
      used.add(path);
      expectGolden(path, code);
    }
  });
}

const forgotten = (root?: string): string[] => orphans(".", used, root).filter((path) => path.endsWith(".wgsl"));

test("no golden WGSL is left of a kernel that is gone", () => {
  assert.equal(forgotten(), []);
});

test("an orphan, a changed kernel and a missing file are seen", () => {
  const root = mkdtempSync(join(tmpdir(), "vitc-golden-"));
  try {
    mkdirSync(join(root, "model"));
    writeFileSync(join(root, "model", "gone.wgsl"), "fn main() {}\n");
    assert.equal(forgotten(root), ["model/gone.wgsl"]);
    if (process.env["UPDATE"] !== "1") {
      assert.throws(() => expectGolden("model/gone.wgsl", "fn main() { }\n", root), /differs/);
      assert.throws(() => expectGolden("model/new.wgsl", "fn main() {}\n", root), /does not exist/);
    }
  } finally {
    for (const path of ["model/gone.wgsl", "model/new.wgsl"]) asserted.delete(path);
    rmSync(root, { recursive: true, force: true });
  }
});

test.run();

/**
 * The WGSL of every example, as files that a reviewer can read and compare: test/golden/wgsl/<kernel>.wgsl. A kernel's id says all that its
 * text depends on, so examples that share a kernel share its file. That all WGSL is valid is shown on Dawn's null device.
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

const used = new Set<string>();

for (const [name, spec] of exampleSpecs) {
  test(`${name} has the kernels it had`, () => {
    const { kernels } = makePlan(resolve(spec));
    assert.ok(kernels.length >= 8);
    for (const { id, code } of kernels) {
      const path = `wgsl/${id}.wgsl`;
      used.add(path);
      expectGolden(path, code);
    }
  });
}

const forgotten = (root?: string): string[] => orphans("wgsl", used, root);

test("no golden WGSL is left of a kernel that is gone", () => {
  assert.equal(forgotten(), []);
});

test("an orphan, a changed kernel and a missing file are seen", () => {
  const root = mkdtempSync(join(tmpdir(), "vitc-golden-"));
  try {
    mkdirSync(join(root, "wgsl"));
    writeFileSync(join(root, "wgsl", "gone.wgsl"), "fn main() {}\n");
    assert.equal(forgotten(root), ["wgsl/gone.wgsl"]);
    if (process.env["UPDATE"] !== "1") {
      assert.throws(() => expectGolden("wgsl/gone.wgsl", "fn main() { }\n", root), /differs/);
      assert.throws(() => expectGolden("wgsl/new.wgsl", "fn main() {}\n", root), /does not exist/);
    }
  } finally {
    for (const path of ["wgsl/gone.wgsl", "wgsl/new.wgsl"]) asserted.delete(path);
    rmSync(root, { recursive: true, force: true });
  }
});

test.run();

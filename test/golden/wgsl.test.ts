/**
 * The WGSL of some examples, as files that a reviewer can read and compare: test/golden/wgsl/<kernel>.wgsl. A kernel's id says all that its
 * text depends on, so examples that share a kernel share its file. Of all examples test/golden/kernels.txt has a hash for each kernel, so
 * that nothing changes unnoticed. That all WGSL is valid is shown on Dawn's null device.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { DType } from "../../runtime/plan.js";
import { asserted, expectGolden, orphans } from "../tools/golden.js";
import { exampleSpecs } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("golden WGSL");

const used = new Set<string>();

/** Examples whose kernels are there to read: between them, every family in both dtypes, images, maps, tables and single tokens. */
const written = new Map<string, readonly DType[]>([["vit-tiny-patch16-224", ["f32", "f16"]], ["vit-hybrid-stem-64", ["f32"]]]);

for (const [name, dtypes] of written) {
  for (const dtype of dtypes) {
    test(`${name} in ${dtype} has the kernels it had`, () => {
      const { kernels } = makePlan(resolve(exampleSpecs.get(name)), { dtype });
      assert.ok(kernels.length >= 20);
      for (const { id, code } of kernels) {
        const path = `wgsl/${id}.wgsl`;
        used.add(path);
        expectGolden(path, code);
      }
    });
  }
}

test("the other examples have the kernels they had, by their hashes", () => {
  const hashes = new Map<string, string>();
  for (const spec of exampleSpecs.values()) {
    for (const dtype of ["f32", "f16"] as const) for (const { id, code } of makePlan(resolve(spec), { dtype }).kernels) hashes.set(id, createHash("sha256").update(code).digest("hex").slice(0, 12));
  }
  expectGolden("kernels.txt", [...hashes].map(([id, hash]) => `${id} ${hash}\n`).toSorted().join(""));
});

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

/** Loading weights takes little memory beyond what is loaded: measured in a process of its own, on a file of zeros that takes no disk. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { skipAll, suite } from "../tools/suite.js";
import type { MemoryOptions, MemoryReport } from "../tools/load-memory.js";

const MB = 1e6;

function measured(options: MemoryOptions): MemoryReport {
  const script = fileURLToPath(new URL("../tools/load-memory.ts", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--expose-gc", "--import", "tsx", script, JSON.stringify(options)], { encoding: "utf8", timeout: 300_000 });
  assert.is(status, 0, stderr);
  return JSON.parse(stdout) as MemoryReport;
}

if (process.platform !== "linux") skipAll("memory", "a process's largest memory is read from /proc, which Linux has");
else {
  const test = suite("memory");
  /** What was measured is 30 to 55 MB beyond the largest tensor, garbage that waits to be collected included. */
  const allowed = 64 * 2 ** 20;

  for (const options of [
    { model: "timm:vit_base_patch16_224", file: "F32", dtype: "f32" },
    { model: "timm:vit_base_patch16_224", file: "BF16", dtype: "f16", shards: 3 },
    // Weights that are joined, folded and padded.
    { model: "timm:eva02_large_patch14_224", depth: 4, file: "F32", dtype: "f32" },
    { model: "timm:beit_large_patch16_224", depth: 4, file: "F16", dtype: "f32" },
    // Matrices of which neither the packed whole nor, where two are joined, the other half fits.
    { model: "timm:vit_giant_patch14_dinov2", depth: 3, file: "F32", dtype: "f32" },
    { model: "timm:aimv2_3b_patch14_224", depth: 2, file: "BF16", dtype: "f16" },
    { model: "timm:vit_7b_patch16_dinov3", depth: 1, file: "F32", dtype: "f32" },
    // The same in files that hold queries, keys and values apart.
    { model: "timm:vit_7b_patch16_dinov3", depth: 1, file: "F32", dtype: "f32", naming: "transformers DINOv3" },
    // A table of 4096 positions.
    { model: "timm:vit_so400m_patch14_siglip_gap_896", depth: 2, file: "F32", dtype: "f32" },
  ] as const satisfies readonly MemoryOptions[]) {
    test(`${options.model.slice(5)} from ${options.file}${"naming" in options ? ` by the names of ${options.naming}` : ""}, packed as ${options.dtype}, takes no more than its largest tensor and some reads beside what is packed`, () => {
      const { fileBytes, largestTensor, peak, progress } = measured(options);
      assert.ok(fileBytes > 100 * MB, `${fileBytes}`);
      assert.ok(peak < largestTensor + allowed, `${peak / MB} MB`);
      // Progress counts bytes of the file, and comes to its end.
      assert.ok(progress.steady && progress.reports > 20, JSON.stringify(progress));
      assert.is(progress.loaded, progress.total);
      assert.ok(Math.abs(progress.total / fileBytes - 1) < 0.001, `${progress.total} of ${fileBytes} bytes`);
    });
  }

  test.run();
}

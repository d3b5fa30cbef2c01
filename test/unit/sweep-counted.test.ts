import * as assert from "uvu/assert";
import { countedColumns } from "../../compiler/sweep/counted.js";
import { StaticColumnsOf } from "../../compiler/sweep/statics.js";
import { resolveVariant } from "../../compiler/sweep/variants.js";
import { sweep } from "../../compiler/sweep/sweep.js";
import type { Row } from "../../compiler/sweep/row.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import resolution from "../../specs/sweeps/resolution.js";
import { suite } from "../tools/suite.js";

const test = suite("what is counted without a plan");

const tiny: ViTSpec = { name: "tiny", image: 224, patch: 16, dim: 192, depth: 12, heads: 3, classes: 1000 };
const specs: readonly ViTSpec[] = [
  tiny,
  { ...tiny, image: [160, 320], patch: [8, 16], pool: "avg", tokens: { class: false }, mlp: { ratio: 3, gate: "split" } },
  { ...tiny, image: 384, tokens: { class: true, distillation: true, registers: 4 } },
  { ...tiny, position: { kind: "sincos2d" }, outputs: ["blocks.*"] },
  { ...tiny, image: 208, attention: { relative: true } },
];

test("equals what is planned, wherever there is a plan", () => {
  const statics = new StaticColumnsOf();
  for (const spec of specs) {
    const { columns } = statics.of(resolveVariant(spec));
    const counted = countedColumns(spec);
    for (const [name, value] of Object.entries(counted)) assert.is(value, columns[name as keyof typeof counted], `${JSON.stringify(spec.position ?? spec.image)} ${name}`);
  }
});

test("says what every pixel as a token would cost, and the row says why it is not run", async () => {
  const rows: Row[] = [];
  for await (const row of sweep(resolution)) rows.push(row);
  assert.is(rows.length, 18);
  const at = (image: number, patch: number): Row => rows.find((row) => row["image"] === image && row["patch"] === patch)!;
  // 12 blocks of 2 * tokens^2 * 192 multiply-adds for QK^T and PV; of 12 * 192^2 a token for the four linear layers; the embedding; the head.
  for (const [image, patch, tokens] of [[224, 16, 197], [224, 1, 50_177], [416, 1, 173_057], [800, 2, 160_001], [800, 1, 640_001]] as const) {
    const row = at(image, patch);
    const attention = 12 * 2 * tokens ** 2 * 192;
    const macs = attention + 12 * tokens * 12 * 192 ** 2 + (tokens - 1) * 192 * 3 * patch ** 2 + 192 * 1000;
    assert.is(row.tokens, tokens);
    assert.ok(Math.abs(row.gmacs! * 1e9 - macs) <= 1e-12 * macs, `${row.gmacs} and ${macs / 1e9}`);
    assert.ok(Math.abs(row.attention_share! - attention / macs) < 1e-12);
    assert.is(row.failed === null, tokens === 197);
  }
  assert.match(at(800, 1).failed!, /image: one image of 640001 tokens needs 1\.83 GiB/);
  assert.equal([at(800, 1).weights_mb, at(800, 1).activation_mb], [null, null], "what needs a plan");
});

test("counts nothing of what is wrong otherwise", () => {
  for (const spec of [{ ...tiny, heads: 5 }, { ...tiny, image: 225 }, { ...tiny, stem: [{ channels: 8, kernel: 3, stride: 2 }] }]) assert.throws(() => countedColumns(spec));
});

test.run();

/** Large matrices are packed a few rows at a time: with the values, and the messages, of one step after another. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { PackedTensor, WeightStep } from "../../runtime/plan.js";
import { packStrips, packTensor, type Packed, type ReadValues } from "../../runtime/recipe.js";
import { rowWiseOf } from "../../runtime/row-blocks.js";
import { seededValues } from "../../runtime/seeded.js";
import { ReadBuffers, Workspace } from "../../runtime/workspace.js";
import { refusal } from "./weight-files.js";

const test = suite("row-blocks");

/** 300 rows of 769 are four blocks, the last of them short. */
const [rows, width] = [300, 769];
const turn = (of: number): WeightStep => ({ op: "transpose", of, axes: [1, 0] });
const fold: WeightStep = { op: "foldNormScale", of: [0, 1], centre: true };

const shapeOf = (steps: readonly WeightStep[]): readonly number[] => steps.flatMap((step) => (step.op === "pad" ? [step.shape] : [])).at(-1) ?? [width, rows];

/** Steps on a weight [rows, width], a vector [width] and a vector [rows]. */
const tensorOf = (steps: readonly WeightStep[], dtype: "f32" | "f16"): PackedTensor => ({
  name: "blocks.0.weight", buffer: 0, offset: 0, dtype, shape: shapeOf(steps), steps,
  sources: [[rows, width], [width], [rows]].map((shape, i) => ({ names: [`s${i}`], shape })),
}); // prettier-ignore

const values = ({ names, shape }: PackedTensor["sources"][number]): Float32Array<ArrayBuffer> => Float32Array.from(seededValues(names[0]!, shape, "parameter"));
const pack = (tensor: PackedTensor, workspace?: Workspace, read = values): Promise<Packed> => packTensor(tensor, (source) => Promise.resolve(read(source)), workspace);

const chains: Readonly<Record<string, readonly WeightStep[]>> = {
  "a transpose alone": [turn(0)],
  "a norm's scale": [fold, turn(3)],
  "a norm's scale and a factor of some rows": [fold, { op: "scaleRows", of: 3, start: 50, end: 200, factor: 0.3 }, turn(4)],
  "a scale of each row": [{ op: "scaleChannels", of: [0, 2] }, turn(3)],
  "both scales": [fold, { op: "scaleChannels", of: [3, 2] }, { op: "scaleRows", of: 4, start: 0, end: 300, factor: 7 }, turn(5)],
  "columns that are padded": [fold, turn(3), { op: "pad", of: 4, shape: [width, rows + 20] }],
  "tensors that are joined, and a part of both": [{ op: "concat", of: [0, 0], axis: 0 }, { op: "slice", of: 3, axis: 0, start: 150, end: 450 }, { op: "foldNormScale", of: [4, 1], centre: true }, turn(5)],
  "rows that were moved before": [{ op: "slice", of: 0, axis: 0, start: 0, end: 300 }, { op: "foldNormScale", of: [3, 1], centre: false }, turn(4)],
};

for (const [what, steps] of Object.entries(chains)) {
  test(`${what}: the same bits as one step after another`, async () => {
    for (const dtype of ["f32", "f16"] as const) {
      const tensor = tensorOf(steps, dtype);
      assert.ok(rowWiseOf(tensor) !== undefined);
      // A step after the transpose, which moves nothing, keeps it from being done by rows.
      const whole = tensorOf([...steps, { op: "reshape", of: 2 + steps.length, shape: shapeOf(steps) }], dtype);
      assert.is(rowWiseOf(whole), undefined);
      const bytes = async (packing: Promise<Packed>): Promise<Buffer> => Buffer.from((await packing).buffer);
      const expected = await bytes(pack(whole));
      assert.ok((await bytes(pack(tensor))).equals(expected), dtype);
      // Sources that are read in parts, whose memory is used again for the next part.
      const memory = new Float32Array(rows * width);
      const inParts = (data: Float32Array<ArrayBuffer>): ReadValues => ({ length: data.length, whole: () => data, part: (start, end) => (memory.set(data.subarray(start, end)), memory.subarray(0, end - start)) });
      for (const each of [tensor, whole]) assert.ok((await bytes(packTensor(each, (source) => Promise.resolve(inParts(values(source)))))).equals(expected), dtype);
      // In strips of the result's rows, the last of them short: 769 rows are 4 of 194 or fewer.
      for (const read of [values, (source: PackedTensor["sources"][number]) => inParts(values(source))]) {
        const places: number[] = [];
        const strips = Buffer.alloc(expected.length, 0xff);
        const write = (data: Packed, at: number): void => {
          places.push(at);
          strips.set(Buffer.from(data.buffer, data.byteOffset, data.byteLength), at * data.BYTES_PER_ELEMENT);
        };
        await packStrips(tensor, (source) => Promise.resolve(read(source)), write, new Workspace(expected.length / 3.9));
        assert.ok(strips.equals(expected), `${dtype} in strips`);
        assert.is(places.length, 4);
        assert.ok(places.every((at) => (at * (dtype === "f16" ? 2 : 4)) % 4 === 0), `${places}`);
      }
    }
  });
}

test("the memory of one tensor serves the next", async () => {
  const workspace = new Workspace();
  const tensor = tensorOf([fold, turn(3)], "f32");
  const first = await pack(tensor, workspace);
  const kept = first.slice();
  const second = await pack(tensorOf([turn(0)], "f32"), workspace);
  assert.is(second.buffer, first.buffer);
  assert.equal(await pack(tensor, workspace), kept);
});

test("a value that is too large is named by its place in the whole, with what it was", async () => {
  const spoilt = (source: PackedTensor["sources"][number]): Float32Array<ArrayBuffer> => {
    const data = values(source);
    if (source.names[0] === "s0") data[250 * width + 7] = 3e38;
    if (source.names[0] === "s1") data[7] = 1e6;
    return data;
  };
  const tensor = tensorOf([{ op: "foldNormScale", of: [0, 1], centre: false }, turn(3)], "f32");
  assert.match((await refusal(pack(tensor, undefined, spoilt))).message, /"blocks\.0\.weight" becomes Infinity at \[7, 250\].*from 3(\.\d+)?e\+44/);
  assert.match((await refusal(pack({ ...tensor, dtype: "f16" }, undefined, spoilt))).message, /becomes too large at \[7, 250\]/);
});

test("a recipe that contradicts itself is refused as ever", async () => {
  for (const steps of [[{ op: "foldNormScale", of: [0, 2], centre: true }, turn(3)], [{ op: "scaleRows", of: 0, start: 5, end: 400, factor: 2 }, turn(3)], [{ op: "scaleChannels", of: [0, 1] }, turn(3)], [{ op: "transpose", of: 9, axes: [1, 0] }]] satisfies WeightStep[][]) {
    await pack(tensorOf(steps, "f32")).then(() => assert.unreachable(), ({ message }: Error) => assert.match(message, /contradicts itself/));
  }
});

test("buffers of reads come back", () => {
  const buffers = new ReadBuffers(200);
  const first = buffers.take(40);
  assert.equal([first.length, first.buffer.byteLength], [40, 200]);
  buffers.give(first);
  const again = buffers.take(200);
  assert.is(again.buffer, first.buffer);
  assert.is.not(buffers.take(10).buffer, first.buffer);
});

test.run();

/** NumPy's archives, which Google's models are in: the same tensors as in safetensors, and damaged archives refused. */
import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { readHeader, fromBytes } from "../../runtime/weights.js";
import { openFile } from "../../runtime/weight-file.js";
import { fixturePath } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";
import { refusal } from "./weight-files.js";

const test = suite("npz");

const archive = new Uint8Array(readFileSync(fixturePath("names/google/file.npz")));
const open = (bytes: Uint8Array) => openFile(fromBytes(bytes, "model.npz"), new AbortController().signal);

test("an archive has the tensors of the same model in safetensors: names, shapes, types, bytes", async () => {
  const other = fromBytes(new Uint8Array(readFileSync(fixturePath("names/google/file.safetensors"))));
  const [{ source, file }, expected] = [await open(archive), await readHeader(other)];
  assert.equal([...file.tensors.keys()].toSorted(), [...expected.tensors.keys()].toSorted());
  for (const [name, { dtype, shape, offset, bytes }] of file.tensors) {
    const wanted = expected.tensors.get(name)!;
    assert.equal([dtype, shape], [wanted.dtype, wanted.shape], name);
    assert.equal([...(await source.read(offset, bytes))], [...(await other.read(wanted.offset, wanted.bytes))], name);
  }
});

/** The archive with something done to it. */
function changed(change: (bytes: Uint8Array, text: string) => Uint8Array | void): Uint8Array {
  const copy = archive.slice();
  return change(copy, Buffer.from(copy).toString("latin1")) ?? copy;
}
const put = (bytes: Uint8Array, at: number, text: string): void => bytes.set(Buffer.from(text, "latin1"), at);

for (const [title, bytes, message] of [
  ["an archive that was cut short", changed((copy) => copy.slice(0, -400)), /cut short/],
  ["a list that points beyond the end", changed((copy) => void new DataView(copy.buffer).setUint32(copy.length - 6, copy.length, true)), /beyond its end/],
  ["a compressed array", changed((copy, text) => void new DataView(copy.buffer).setUint16(text.indexOf("PK\x01\x02") + 10, 8, true)), /is compressed.*numpy\.savez/],
  ["an array that is stored by columns", changed((copy, text) => { for (const at of text.matchAll(/'fortran_order': False/g)) put(copy, at.index, "'fortran_order': True "); }), /stored by columns/], // prettier-ignore
  ["an array of text", changed((copy, text) => put(copy, text.indexOf("'<f4'"), "'<U4'")), /numbers of type "<U4"/],
  ["an array whose shape does not fit", changed((copy, text) => put(copy, text.search(/'shape': \(\d/) + 10, "9")), /bytes of numbers, and its shape/],
  ["an entry in the wrong place", changed((copy, text) => void new DataView(copy.buffer).setUint32(text.indexOf("PK\x01\x02") + 42, 5, true)), /not where the archive's list has it/],
] as const) {
  test(`${title} is refused with its reason`, async () => {
    assert.match((await refusal(open(bytes))).message, message);
  });
}

test("a zip archive of something else is told what it is, as ever", async () => {
  const torch = changed((copy, text) => { for (const at of text.matchAll(/\.npy/g)) put(copy, at.index, ".pkl"); }); // prettier-ignore
  assert.match((await refusal(open(torch))).message, /zip|PyTorch|pickle/i);
});

test("no byte of an archive's ends can be changed without a typed error or the same tensors' names and sizes", async () => {
  const names = [...(await open(archive)).file.tensors.keys()];
  for (let i = 0; i < 400; i++) {
    const at = i < 200 ? archive.length - 1 - i : i * 7;
    const bytes = changed((copy) => void (copy[at] = copy[at]! ^ 0x55));
    try {
      const { file } = await open(bytes);
      for (const { offset, bytes: size } of file.tensors.values()) assert.ok(offset + size <= archive.length);
      assert.ok(file.tensors.size <= names.length);
    } catch (error) {
      assert.is((error as Error).name, "WeightsError", `byte ${at}: ${String(error)}`);
    }
  }
});

test.run();

/** Rounding to f16: by table, by an independent formula over all words and random values, and what a weight that does not fit is told. */
import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { firstBeyondHalf, halfWord, toHalves, toHalvesBalanced } from "../../runtime/half.js";
import type { PackedTensor, WeightStep } from "../../runtime/plan.js";
import { packTensor } from "../../runtime/recipe.js";
import { loadWeights } from "../../runtime/weights.js";
import { fromHalf, fromHalves } from "../tools/halves.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { randomTensor, sum } from "../tools/tensors.js";
import { f32, makeFile, refusal, type MadeTensor } from "./weight-files.js";

const test = suite("halves");

// ------------------------------------------------------------------------------------------------------ rounding

/** Values and their words, from the definition of binary16. */
const table: readonly (readonly [value: number, word: number])[] = [
  [0, 0x0000], [1, 0x3c00], [-1, 0xbc00], [2, 0x4000], [-2, 0xc000], [0.5, 0x3800], [1.5, 0x3e00], [0.1, 0x2e66], [1 / 3, 0x3555], [1000, 0x63d0], [Math.PI, 0x4248],
  // The largest, and where infinity begins: 65520 is the middle to 65536, and goes to the even side.
  [65504, 0x7bff], [-65504, 0xfbff], [65519.999, 0x7bff], [65520, 0x7c00], [-65520, 0xfc00], [65536, 0x7c00], [1e300, 0x7c00], [Infinity, 0x7c00], [-Infinity, 0xfc00],
  // Negative zero, from itself and from what is too small.
  [-0, 0x8000], [-1e-300, 0x8000], [1e-300, 0x0000],
  // The smallest normal number, and subnormal ones down to the half of the smallest, which goes to the even zero.
  [2 ** -14, 0x0400], [2 ** -14 - 2 ** -24, 0x03ff], [2 ** -15, 0x0200], [3 * 2 ** -24, 0x0003], [2 ** -24, 0x0001], [-(2 ** -24), 0x8001], [2 ** -25, 0x0000], [-(2 ** -25), 0x8000], [2 ** -25 * (1 + 2 ** -52), 0x0001],
  // Rounded up out of the subnormal range.
  [2 ** -14 - 2 ** -26, 0x0400], [2 ** -14 - 2 ** -25, 0x0400],
  // Ties go to the even side, up and down, normal and subnormal.
  [1 + 2 ** -11, 0x3c00], [1 + 3 * 2 ** -11, 0x3c02], [2049, 0x6800], [2051, 0x6802], [1.5 * 2 ** -24, 0x0002], [2.5 * 2 ** -24, 0x0002], [3.5 * 2 ** -24, 0x0004],
  // Beside a tie there is none.
  [1 + 2 ** -11 - 2 ** -52, 0x3c00], [1 + 2 ** -11 + 2 ** -52, 0x3c01],
  // A carry into the exponent.
  [2 - 2 ** -12, 0x4000], [4095.9, 0x6c00],
];

const hex = (word: number): string => `0x${word.toString(16).padStart(4, "0")}`;

test("values become the words that binary16 has for them", () => {
  for (const [value, word] of table) assert.is(hex(halfWord(value)), hex(word), String(value));
  assert.is(firstBeyondHalf(Uint16Array.of(halfWord(NaN))), 0);
  assert.ok(Number.isNaN(fromHalf(halfWord(NaN))));
});

test("an f64 is rounded once, not by way of f32", () => {
  // In f32 this is the tie 1 + 2^-11, which would go down to 1.
  const value = 1 + 2 ** -11 + 2 ** -40;
  assert.is(Math.fround(value), 1 + 2 ** -11);
  assert.equal([...toHalves(Float64Array.of(value))].map(hex), ["0x3c01"]);
  assert.equal([...toHalves(Float32Array.of(value))].map(hex), ["0x3c00"]);
});

test("every number that f16 has is its own word", () => {
  for (let word = 0; word < 0x10000; word++) {
    const value = fromHalf(word);
    if (!Number.isNaN(value)) assert.is(halfWord(value), word, hex(word));
  }
});

/** All finite numbers of f16 that are not negative, ascending: the word of a number is its place. */
const ascending: readonly number[] = Array.from({ length: 0x7c00 }, (_, word) => fromHalf(word));

/** The nearest word by search and distance alone, ties to the even word; 65536 stands for infinity. */
function nearestWord(value: number): number {
  const size = Math.abs(value);
  let [low, high] = [0, ascending.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! <= size) low = middle;
    else high = middle;
  }
  const [below, above] = [size - ascending[low]!, (ascending[high] ?? 65536) - size];
  const word = below < above || (below === above && low % 2 === 0) ? low : high;
  return word + (value < 0 || Object.is(value, -0) ? 0x8000 : 0);
}

/** Numbers from 0 to 1, the same for the same seed. */
function* uniform(seed: number): Generator<number, never> {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

test("random numbers of all sizes become the nearest word", () => {
  const random = uniform(Number(process.env["SEED"] ?? 1));
  const next = (): number => random.next().value;
  for (let i = 0; i < 200_000; i++) {
    const size = 2 ** (-27 + 44 * next()) * (1 + next());
    const value = next() < 0.5 ? size : -size;
    assert.is(hex(halfWord(value)), hex(nearestWord(value)), String(value));
  }
  // Middles between neighbours, and the nearest f64 to either side of them.
  for (let word = 0; word < 0x7bff; word += 7) {
    const middle = (ascending[word]! + ascending[word + 1]!) / 2;
    for (const value of [middle, middle * (1 + 2 ** -52), middle * (1 - 2 ** -53)]) assert.is(hex(halfWord(value)), hex(nearestWord(value)), String(value));
  }
});

test("arrays of f32 and f64 are rounded element by element, with or without an engine that can", () => {
  const values = table.map(([value]) => value);
  const expected = table.map(([, word]) => hex(word));
  const single = table.filter(([value]) => Math.fround(value) === value);
  const rounds = (): void => {
    assert.equal([...toHalves(Float64Array.from(values))].map(hex), expected);
    assert.equal([...toHalves(Float32Array.from(single, ([value]) => value))].map(hex), single.map(([, word]) => hex(word)));
    assert.is(toHalves(new Float32Array(0)).length, 0);
  };
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, "Float16Array");
  const pretend = (value: unknown): void => void Object.defineProperty(globalThis, "Float16Array", { value, configurable: true, writable: true });
  let used = 0;
  try {
    pretend(undefined);
    rounds();
    pretend(class {
      private readonly words: Uint16Array;
      constructor(buffer: ArrayBuffer, offset: number, length: number) {
        used++;
        this.words = new Uint16Array(buffer, offset, length);
      }
      set(given: ArrayLike<number>): void {
        this.words.set(Uint16Array.from(given, nearestWord));
      }
    });
    rounds();
    assert.is(used, 3);
  } finally {
    if (descriptor === undefined) Reflect.deleteProperty(globalThis, "Float16Array");
    else Object.defineProperty(globalThis, "Float16Array", descriptor);
  }
});

test("the first value that f16 cannot hold is found", () => {
  assert.is(firstBeyondHalf(toHalves(Float64Array.of(1, -65504, 65519, 2 ** -30, -0))), -1);
  assert.is(firstBeyondHalf(toHalves(Float64Array.of(1, 65520, 65521))), 1);
  assert.is(firstBeyondHalf(toHalves(Float64Array.of(1, 2, -1e9))), 2);
  assert.is(firstBeyondHalf(toHalves(Float64Array.of(NaN, 65520))), 0);
  assert.is(firstBeyondHalf(new Uint16Array(0)), -1);
});

// ------------------------------------------------------------------------------------------------------ weights

const tensor = (shape: readonly number[], steps: readonly WeightStep[] = [], dtype: PackedTensor["dtype"] = "f16"): PackedTensor => ({ name: "blocks.0.attn.qkv.weight", buffer: 0, offset: 0, dtype, shape, sources: [{ names: ["qkv"], shape }], steps });

const pack = (values: readonly number[], packed: PackedTensor): Promise<unknown> => packTensor(packed, async () => Float32Array.from(values));

test("a tensor that is stored as f16 is rounded in the end, after all arithmetic", async () => {
  const shape = [2, 3];
  const values = [1, 1 + 2 ** -10, -0.1, 65504, 2 ** -24, 0];
  const packed = await pack(values, tensor(shape));
  if (!(packed instanceof Uint16Array)) throw new Error("f16 is packed as words");
  assert.equal([...fromHalves(packed)], [1, 1 + 2 ** -10, fromHalf(halfWord(Math.fround(-0.1))), 65504, 2 ** -24, 0]);
  // Rounding the sources first would give 0.
  const scaled = await pack([2 ** -30, 0, 0, 0, 0, 0], tensor(shape, [{ op: "scale", of: 0, factor: 2 ** 20 }]));
  assert.equal([...fromHalves(scaled as Uint16Array)], [2 ** -10, 0, 0, 0, 0, 0]);
  assert.instance(await pack(values, tensor(shape, [], "f32")), Float32Array);
});

test("a weight beyond f16 is refused with its name, place and value, and the way out", async () => {
  for (const [value, text] of [[65520, "65520"], [-70000, "-70000"], [1e9, "1000000000"]] as const) {
    const { problems } = await refusal(pack([0, 1, 2, 3, value, 5], tensor([2, 3])));
    assert.equal(problems, [{ kind: "range", tensor: "blocks.0.attn.qkv.weight", message: `"blocks.0.attn.qkv.weight" becomes too large at [1, 1] when it is packed as f16 (from ${text}); f32 can hold it: load or compile with dtype f32` }]);
  }
  // So is one that grows too large on the way.
  const { problems: [grown] } = await refusal(pack([1, 100], tensor([2], [{ op: "scale", of: 0, factor: 1000 }])));
  assert.match(grown!.message, /becomes too large at \[1\] when it is packed as f16 \(from 100000\); f32 can hold it: load or compile with dtype f32/);
  // Where f32 could not hold it either, there is no such way out.
  const { problems: [damaged] } = await refusal(pack([1, 3e38], tensor([2], [{ op: "scale", of: 0, factor: 1000 }])));
  assert.match(damaged!.message, /becomes too large at \[1\] .*; the file is damaged or its values are too large/);
  const { problems: [single] } = await refusal(pack([1, 3e38], tensor([2], [{ op: "scale", of: 0, factor: 1000 }], "f32")));
  assert.match(single!.message, /becomes Infinity at \[1\] when it is packed as f32/);
});

test("a model in f16 refuses a matrix beyond it, takes such a bias, and in f32 takes both", async () => {
  const load = async (dtype: PackedTensor["dtype"], large: string): Promise<number> => {
    const { recipe } = makePlan(resolve(smallSpec()), { dtype });
    const shapes = new Map(recipe.tensors.flatMap(({ sources }) => sources.map(({ names, shape }) => [names[0]!, shape] as const)));
    if (!shapes.has(large)) throw new Error(`the model has no ${large}`);
    const file = [...shapes].map(([name, shape]): readonly [string, MadeTensor] => {
      const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1)).fill(0.5);
      if (name === large) values[1] = 1e5;
      return [name, f32(shape, values)];
    });
    let uploads = 0;
    await loadWeights(recipe, makeFile(new Map(file)), { upload: () => void uploads++ });
    assert.is(uploads, recipe.tensors.length);
    return uploads;
  };
  const { problems } = await refusal(load("f16", "blocks.0.mlp.fc2.weight"));
  assert.is(problems.length, 1);
  assert.match(problems[0]!.message, /^"blocks\.0\.mlp\.fc2\.weight" becomes too large at \[1, 0\] when it is packed as f16 \(from 100000\); f32 can hold it: load or compile with dtype f32$/);
  assert.ok((await load("f16", "blocks.0.mlp.fc2.bias")) > 0);
  assert.ok((await load("f32", "blocks.0.mlp.fc2.weight")) > 0);
});

test("columns rounded in balance keep their sums, and each value is off by one unit at most", () => {
  const [rows, cols] = [768, 5];
  const values = randomTensor([rows, cols], "balanced", 0.05).data.map((value, i) => value - (i % cols === 4 ? value : 0));
  const sumOf = (numbers: ArrayLike<number>, column: number): number => sum(rows, (row) => numbers[row * cols + column]!);
  const balanced = fromHalves(toHalvesBalanced(values, cols));
  const plain = fromHalves(toHalves(values));
  for (let column = 0; column < cols; column++) assert.ok(Math.abs(sumOf(balanced, column) - sumOf(values, column)) <= 2 ** -15, `column ${column}`);
  assert.ok([0, 1, 2, 3].some((column) => Math.abs(sumOf(plain, column) - sumOf(values, column)) > 2 ** -13), "rounded one by one the sums move, so the test can fail");
  balanced.forEach((value, i) => assert.ok(Math.abs(value - values[i]!) <= Math.max(2 ** -24, 2 ** -10 * Math.abs(values[i]!) + 2 ** -15), `${values[i]} became ${value}`));
  assert.ok(balanced.every((value, i) => i % cols !== 4 || value === 0), "zeros stay zeros");
});

test.run();

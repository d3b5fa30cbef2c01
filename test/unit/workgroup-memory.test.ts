/** The workgroup memory of a kernel: how it is counted, and that no kernel is made that takes more than every device has. */
import * as assert from "uvu/assert";
import { assemble } from "../../compiler/kernels/kernel.js";
import { empty, raw } from "../../compiler/kernels/wgsl.js";
import { maxWorkgroupBytes, WorkgroupMemoryError, workgroupBytes } from "../../compiler/kernels/workgroup-memory.js";
import { suite } from "../tools/suite.js";

const test = suite("workgroup memory");

type Types = Readonly<Record<string, string>>;

const typed = (types: Types) => Object.fromEntries(Object.entries(types).map(([name, type]) => [name, raw(type)]));
const kernel = (types: Types) => assemble({ id: "some_kernel", bindings: [], workgroupSize: [64, 1, 1], constants: {}, shared: typed(types), builtins: empty, body: empty });

test("types have the sizes of WGSL, and each variable is counted in multiples of 16 bytes", () => {
  const counts: readonly (readonly [Types, number])[] = [
    [{}, 0], [{ a: "f32" }, 16], [{ a: "u32", b: "i32", c: "f16" }, 48],
    [{ a: "array<f32, 5>" }, 32], [{ a: "array<u32, 8>" }, 32], [{ a: "array<f16, 9>" }, 32], [{ a: "array<f16, 8>" }, 16],
    [{ a: "array<vec2<f32>, 3>" }, 32], [{ a: "array<vec4<f32>, 3>" }, 48], [{ a: "array<vec2<f16>, 5>" }, 32], [{ a: "array<vec4<f16>, 5>" }, 48],
    // Three lanes take the place of four.
    [{ a: "vec3<f32>" }, 16], [{ a: "array<vec3<f32>, 16>" }, 256], [{ a: "array<vec3<f16>, 16>" }, 128],
    [{ a: "array<array<f32, 3>, 5>" }, 64], [{ a: "array<array<vec3<f32>, 2>, 5>" }, 160],
  ];
  for (const [types, bytes] of counts) assert.is(workgroupBytes("some_kernel", typed(types)), bytes, JSON.stringify(types));
});

test("a kernel may take all that every device has", () => {
  assert.is(maxWorkgroupBytes, 16384);
  for (const types of [{ a: "array<vec4<f32>, 1024>" }, { a: "array<f32, 4092>", b: "f32" }, { a: "array<f16, 8192>" }]) assert.match(kernel(types).code, /var<workgroup> a: array</);
});

test("a kernel that takes more is not made, and the error says what takes it", () => {
  const refusals: readonly (readonly [Types, string])[] = [
    [{ a: "array<vec4<f32>, 1025>" }, "some_kernel takes 16400 bytes of workgroup memory (a 16400); every device has 16384, use a smaller tile"],
    // By their numbers alone these are 16 KiB and less: what is between them counts too.
    [{ left: "array<f32, 4095>", right: "f32" }, "some_kernel takes 16400 bytes of workgroup memory (left 16384, right 16); every device has 16384, use a smaller tile"],
    [{ pieces: "array<vec3<f32>, 1025>" }, "some_kernel takes 16400 bytes of workgroup memory (pieces 16400); every device has 16384, use a smaller tile"],
  ];
  for (const [types, message] of refusals) assert.throws(() => kernel(types), (error: unknown) => error instanceof WorkgroupMemoryError && error.message === message);
});

test("a kernel whose memory cannot be counted is not made", () => {
  for (const type of ["bool", "mat4x4<f32>", "vec5<f32>", "vec4<bool>", "array<f32>", "array<f32, count>", "array<mat2x2<f32>, 2>", ""]) {
    assert.throws(() => kernel({ a: type }), (error: unknown) => error instanceof WorkgroupMemoryError && error.message.startsWith(`some_kernel: the size of ${type}, the type of a, is not known; use f32`), type);
  }
});

test.run();

/** Kernels that do one thing to rows or numbers, launched as they are on the software adapter, against the ops' `evaluate` in f64. */
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf, openKernelDevice } from "../tools/compare-kernels.js";
import { gate, pooled, product, rms, unit, type GatedCase, type RmsCase } from "../tools/launch-cases.js";
import { compareLaunches, expectLaunchCaught, type LaunchCase, type LaunchMutant } from "../tools/launches.js";
import { skipAll, suite } from "../tools/suite.js";

const norms: Readonly<Record<string, RmsCase>> = {
  "197 rows of 192": { x: [1, 197, 192], eps: 1e-6 },
  "17 rows of 30": { x: [1, 17, 30], eps: 1e-5 },
  "13 rows of 7, up to 1000": { x: [13, 7], eps: 1e-6, magnitude: 1000 },
  "rows of one number": { x: [5, 1], eps: 1e-6 },
  "rows far from zero": { x: [17, 64], eps: 1e-6, offset: 1000 },
  "rows as small as eps": { x: [17, 64], eps: 1e-6, magnitude: 1e-3 },
  "a class token of three images": { x: [3, 13, 32], eps: 1e-6, index: 0 },
  "the second token, 30 wide": { x: [3, 13, 30], eps: 1e-6, index: 1, magnitude: 1000 },
};

const gates: Readonly<Record<string, GatedCase>> = {
  "17 rows of 32": { rows: 17, hidden: 32, activation: "silu", gateFirst: true },
  "17 rows of 32, the gate behind": { rows: 17, hidden: 32, activation: "gelu", gateFirst: false },
  "3 rows of 2730": { rows: 3, hidden: 2730, activation: "silu", gateFirst: true },
  "13 rows of 7, the gate behind": { rows: 13, hidden: 7, activation: "sigmoid", gateFirst: false },
  "5 rows of one number": { rows: 5, hidden: 1, activation: "relu", gateFirst: true },
  "an activation of up to 1000": { rows: 3, hidden: 20, activation: "silu", gateFirst: true, magnitude: 1000 },
  "no activation": { rows: 7, hidden: 9, activation: "none", gateFirst: true },
};

const pools: Readonly<Record<string, () => LaunchCase>> = {
  "the mean of mean and maximum": () => pooled([2, 13, 32], "avgmax", 1),
  "the mean of mean and maximum of negative numbers, 7 wide": () => pooled([3, 5, 7], "avgmax", 0, -1000),
  "the mean of mean and maximum of one token": () => pooled([2, 2, 8], "avgmax", 1),
  "a token and the mean of the others": () => pooled([2, 13, 32], "tokenavg", 1),
  "a token and the mean behind two, 7 wide": () => pooled([3, 5, 7], "tokenavg", 2),
  "a token and the mean of all": () => pooled([2, 5, 12], "tokenavg", 0),
  "the mean": () => pooled([2, 13, 32], "avg", 1),
  "the maximum": () => pooled([2, 13, 30], "max", 2),
};

/** Shapes, and how large numbers are: squares of the last three leave f32, and a length of less than 1e-12 counts as that. */
const units: readonly (readonly [shape: readonly number[], magnitude: number])[] = [[[1, 768], 1], [[17, 30], 3], [[3, 1], 1], [[13, 7], 1000], [[5, 64], 1e30], [[5, 64], 1e-11], [[5, 6], 1e-13]];

const reason = await softwareReason();
if (reason) skipAll("launches", reason);
else {
  const test = suite("launches");
  const { device } = await openKernelDevice();

  for (const dtype of dtypesOf(device)) {
    const dtypes = { in: dtype, out: dtype };
    for (const [title, options] of Object.entries(norms)) test(`${dtype}: rms_norm: ${title}`, () => compareLaunches(device, rms(options, dtypes)));
    for (const [title, options] of Object.entries(gates)) test(`${dtype}: gated: ${title}`, () => compareLaunches(device, gate(options, dtypes)));
    for (const shape of [[2, 10], [1, 7], [3, 5, 20]]) test(`${dtype}: multiply: ${shape.join(" x ")}`, () => compareLaunches(device, product(shape, { a: dtype, b: dtype, out: dtype })));
    if (dtype === "f16") {
      test("f16 to f32: rms_norm, gated and multiply", async () => {
        await compareLaunches(device, rms(norms["17 rows of 30"]!, { in: "f16", out: "f32" }));
        await compareLaunches(device, gate(gates["13 rows of 7, the gate behind"]!, { in: "f16", out: "f32" }));
        await compareLaunches(device, product([3, 8], { a: "f16", b: "f32", out: "f32" }));
      });
      test("f32 to f16: rms_norm, gated and multiply", async () => {
        await compareLaunches(device, rms(norms["17 rows of 30"]!, { in: "f32", out: "f16" }));
        await compareLaunches(device, gate(gates["17 rows of 32"]!, { in: "f32", out: "f16" }));
        await compareLaunches(device, product([3, 7], { a: "f32", b: "f16", out: "f16" }));
      });
    }
  }
  for (const [shape, magnitude] of units) test(`l2_normalize: ${shape.join(" x ")}, up to ${magnitude}`, () => compareLaunches(device, unit(shape, magnitude)));
  for (const [title, make] of Object.entries(pools)) test(`pool: ${title}`, () => compareLaunches(device, make()));

  const rows = rms({ x: [1, 17, 32], eps: 1e-6 });
  const small = rms({ x: [1, 17, 32], eps: 1e-6, magnitude: 1e-3 });
  const second = rms(norms["the second token, 30 wide"]!);
  const vectors = unit([17, 32]);
  const wide = gate(gates["17 rows of 32"]!);
  const odd = gate(gates["13 rows of 7, the gate behind"]!);
  const half = pooled([2, 13, 32], "avgmax", 1);
  const both = pooled([2, 13, 32], "tokenavg", 1);
  const mutants: readonly LaunchMutant[] = [
    ["rms_norm: no scale", rows, "only", / \* scale\[i\]/, ""],
    ["rms_norm: the last numbers left out of the mean", rows, "only", /i < units/, "i < units - 1u"],
    ["rms_norm: another divisor", rows, "only", /\/ width/, "/ (width - 0.01)"],
    ["rms_norm: another eps", small, "only", /\+ 9\.99999\d*e-7/, "+ 1.01e-6"],
    ["rms_norm: another token", second, "only", /\+ 1u\) \* units/, "+ 2u) * units"],
    ["l2_normalize: no root", vectors, "only", /sqrt\(squares\)/, "squares"],
    ["l2_normalize: the last numbers left out of the length", vectors, "only", /i = 0u; i < units/, "i = 0u; i < units - 1u"],
    ["l2_normalize: the first row for all", vectors, "only", /x\[first \+ i\] \/ largest \* factor/, "x[i] / largest * factor"],
    ["l2_normalize: another least length", unit([5, 6], 1e-13), "only", /1e-12/, "1.01e-12"],
    ["gated: the halves exchanged", wide, "only", /x\[first\]/, "x[second]"],
    ["gated: no activation", wide, "only", /activate\(gate\)/, "gate"],
    ["gated: another row", odd, "only", /row \* 14u/, "row * 13u"],
    ["gated: the last column left out", odd, "only", /column \+ 2u < 7u/, "column + 2u < 6u"],
    ["gated: a column twice", odd, "only", /min\(column \+ 1u, 6u\)/g, "column"],
    ["multiply: a sum", product([3, 7]), "only", /\] \* /, "] + "],
    ["pool: the maximum alone", half, "only", /sum \/ 12\.0/, "largest"],
    ["pool: the first token not in the maximum", half, "only", /var largest = sum/, "var largest = vec4<f32>(-10.0)"],
    ["pool: the second half of the other image", both, "only", /at \+ units/, "at + 2u * units"],
    ["pool: a patch for the token", both, "only", /out\[at\] = x\[first\]/, "out[at] = x[first + units]"],
  ];
  for (const mutant of mutants) test(`a changed kernel is caught: ${mutant[0]}`, () => expectLaunchCaught(device, mutant));

  test.after(() => device.destroy());
  test.run();
}

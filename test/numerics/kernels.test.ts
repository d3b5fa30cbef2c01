/** Kernels that move data or reduce rows, on the software adapter against the op's `evaluate` in f64. */
import { softwareReason } from "../tools/adapter.js";
import { compareCandidates, expectCaught, openKernelDevice, type Mutant } from "../tools/compare-kernels.js";
import { addScale, embed, norm, normalize, poolOf, tokenOf, tokensOf, type Case, type NormCase } from "../tools/kernel-cases.js";
import { skipAll, suite } from "../tools/suite.js";

const norms: Readonly<Record<string, NormCase>> = {
  "197 rows of 192": { x: [1, 197, 192], eps: 1e-6 },
  "17 rows of 30": { x: [1, 17, 30], eps: 1e-5 },
  "13 rows of 7, up to 1000": { x: [13, 7], eps: 1e-6, magnitude: 1000 },
  "rows of one number": { x: [5, 1], eps: 1e-6 },
  "rows far from zero": { x: [17, 64], eps: 1e-6, offset: 1000 },
  "rows as small as eps": { x: [17, 64], eps: 1e-6, magnitude: 1e-3 },
  "a class token of three images": { x: [3, 13, 32], eps: 1e-6, index: 0 },
  "the second token, 30 wide": { x: [3, 13, 30], eps: 1e-6, index: 1, magnitude: 1000 },
};

/** Kernels that move data, or do one thing to each number. */
const others: Readonly<Record<string, () => Case>> = {
  "pool: the mean of 12 patches behind a token": () => poolOf([2, 13, 32], "avg", 1),
  "pool: the mean of all tokens, 30 wide": () => poolOf([3, 17, 30], "avg", 0),
  "pool: the maximum behind two tokens": () => poolOf([2, 13, 32], "max", 2),
  "pool: the maximum of negative numbers, 7 wide": () => poolOf([2, 5, 7], "max", 0, -1000),
  "token: the first of three images": () => tokenOf([3, 5, 32], 0),
  "token: the last, 7 wide": () => tokenOf([3, 5, 7], 4),
  "tokens: the first two of three images": () => tokensOf([3, 5, 32], 0, 2),
  "tokens: those in the middle, 7 wide": () => tokensOf([2, 5, 7], 1, 4),
  "normalize: three channels of two images": () => normalize([2, 3, 4, 6], [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
  "normalize: one channel of 15 values": () => normalize([1, 1, 3, 5], [0.5], [0.01]),
  "embed: a token and positions for all": () => embed([1], "all", 32),
  "embed: two tokens and positions for all, 30 wide": () => embed([1, 1], "all", 30),
  "embed: two tokens and positions for the patches": () => embed([1, 1], "patches", 32),
  "embed: a token and positions for the patches, 7 wide": () => embed([1], "patches", 7),
  "embed: a token alone": () => embed([1], "none", 32),
  "embed: positions alone": () => embed([], "all", 30),
  "embed: a token, four registers and positions for all": () => embed([1, 4], "all", 32),
  "embed: three registers and positions for the patches, 7 wide": () => embed([3], "patches", 7),
  "embed: two tokens and two registers, 30 wide": () => embed([1, 1, 2], "none", 30),
  "add_scale: the mean of two": () => addScale([2, 10], 0.5),
  "add_scale: a sum of 7": () => addScale([1, 7], 1),
};

const reason = await softwareReason();
if (reason) skipAll("kernels", reason);
else {
  const test = suite("kernels");
  const { device } = await openKernelDevice();

  for (const [title, options] of Object.entries(norms)) test(`layer_norm: ${title}`, () => compareCandidates(device, norm(options)));
  for (const [title, make] of Object.entries(others)) test(title, () => compareCandidates(device, make()));

  const rows = norm({ x: [1, 17, 32], eps: 1e-6 });
  const small = norm({ x: [1, 17, 32], eps: 1e-6, magnitude: 1e-3 });
  const mean = poolOf([2, 13, 32], "avg", 1);
  const of = (title: string): Case => others[title]!();

  const mutants: readonly Mutant[] = [
    ["layer_norm: no bias", rows, "only", / \+ bias\[i\]/, ""],
    ["layer_norm: the last numbers left out of the mean", rows, "only", /i < units/, "i < units - 1u"],
    ["layer_norm: a sum for a mean", rows, "only", /\/ width/, "/ (width - 1.0)"],
    ["layer_norm: another eps", small, "only", /\+ 9\.99999\d*e-7/, "+ 1.1e-6"],
    ["pool: the last token left out", mean, "only", /token < tokens/, "token < tokens - 1u"],
    ["pool: another divisor", mean, "only", /\/ 12\.0/, "/ 13.0"],
    ["token: another", of("token: the first of three images"), "only", /units \+ 0u \* units/, "units + 1u * units"],
    ["embed: positions of other tokens", of("embed: two tokens and positions for the patches"), "only", /token - 2u/, "token - 1u"],
    ["embed: a token for the other", of("embed: two tokens and positions for all, 30 wide"), "only", /value = prefix1/, "value = prefix0"],
    ["embed: registers one further", of("embed: a token, four registers and positions for all"), "only", /prefix1\[\(token - 1u\)/, "prefix1[(token - 2u)"],
    ["embed: a register left out", of("embed: three registers and positions for the patches, 7 wide"), "only", /token < 3u\) \{ value/, "token < 2u) { value"],
    ["add_scale: another factor", of("add_scale: the mean of two"), "only", /\* 0\.5;/, "* 0.50001;"],
    ["tokens: others", of("tokens: those in the middle, 7 wide"), "only", /\+ 1u \* units/, "+ 2u * units"],
    ["normalize: another channel's mean", of("normalize: three channels of two images"), "only", /channel == 1u/, "channel == 2u"],
  ];
  for (const mutant of mutants) test(`a changed kernel is caught: ${mutant[0]}`, () => expectCaught(device, mutant));

  test.after(() => device.destroy());
  test.run();
}

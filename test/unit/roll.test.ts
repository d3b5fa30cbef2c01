import fc from "fast-check";
import * as assert from "uvu/assert";
import { planVariants } from "../../compiler/compile.js";
import { kernelFiles } from "../../compiler/emit/kernel-files.js";
import { roller } from "../../compiler/emit/roll.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { exampleSpecs } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("unrolled text with loops");

const times = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join("");
/** What a template literal makes. */
// eslint-disable-next-line @typescript-eslint/no-implied-eval -- what is printed is code
const made = (template: string): string => (new Function("times", `return \`${template}\`;`) as (loop: typeof times) => string)(times);

test("lines that repeat with growing numbers become a loop", () => {
  assert.is(roller()("a\nlet x0 = 4u;\nlet x1 = 8u;\nlet x2 = 12u;\nlet x3 = 16u;\nb\n"), "a\n${times(4, (i) => `let x${i} = ${4 * i + 4}u;\n`)}b\n");
});

test("a loop in a loop is found", () => {
  const text = times(4, (i) => `w${i}\n${times(5, (j) => `  sum${j} += w${i} * ${10 - 2 * j}.0;\n`)}`);
  assert.is(roller()(text), "${times(4, (i) => `w${i}\n${times(5, (j) => `  sum${j} += w${i} * ${-2 * j + 10}.0;\n`)}`)}");
});

test("numbers that grow unevenly, fractions and too few lines stay", () => {
  for (const text of ["x0\nx1\nx3\nx4\nx9\n", "x0.25\nx1.25\nx2.25\nx3.25\n", "x01\nx02\nx03\nx04\n", "x1e1\nx1e2\nx1e3\nx1e4\n", "x0\nx1\nx2\n"]) assert.is(roller()(text), text);
});

test("what is printed makes the text again, of any lines", () => {
  const line = fc.tuple(fc.constantFrom("a", "b ", "fma(", "  ", ""), fc.nat(20), fc.constantFrom("", ".0", "u", ".5", "e7", "_"), fc.option(fc.nat(3), { nil: "" })).map((parts) => `${parts.join("")}\n`);
  const block = fc.tuple(fc.array(line, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 6 })).map(([lines, count]) => times(count, (i) => lines.join("").replaceAll("2", String(i))));
  fc.assert(fc.property(fc.array(block, { maxLength: 6 }), (blocks) => {
    const text = blocks.join("");
    assert.is(made(roller()(text)), text);
  }), { numRuns: 500 });
});

test("what would end the template is refused", () => {
  for (const text of ["`", "\\n", "${x}"]) assert.throws(() => roller()(text), /is no kernel/);
});

test("the modules of every example's package hold the kernels that were compiled, byte for byte", () => {
  let [loops, kernels] = [0, 0];
  for (const [name, spec] of exampleSpecs) {
    const variants = planVariants(resolve({ ...spec, dtype: ["f32", "f16"] }));
    const files = kernelFiles(variants, "// made for a test");
    for (const { id, code } of variants.flatMap((variant) => variant.kernels)) {
      const text = files.get(`kernels/${id}.ts`)!;
      const [, template] = /^[^]*\/\* wgsl \*\/ `\n([^]*)`;\n$/.exec(text)!;
      assert.is(made(template!), code, `${name} ${id}`);
      kernels++;
      if (text.includes("${times(")) loops++;
    }
  }
  assert.ok(kernels > 500 && loops > kernels / 2, `${loops} of ${kernels} have loops`);
});

test.run();

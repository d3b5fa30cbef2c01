/** The import law: who may know whom. A violation names both files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { violations, type Zone } from "../tools/imports.js";
import { suite } from "../tools/suite.js";

const test = suite("the import law");

const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[\\/]$/, "");
const folders = ["compiler", "runtime", "specs", "generated"];

const plan = "runtime/plan.ts";
/** How recipes are rewritten, by the compiler and when a file of other names is loaded. */
const recipes = ["runtime/recipe-tree.ts", "runtime/steps.ts"];
const node = { packages: ["node:*"], node: true } as const;

/** In the order in which a spec passes through them: none may import what comes later. */
const stages = ["compiler/spec", "compiler/families", "compiler/ir", "compiler/passes", "compiler/kernels", "compiler/target", "compiler/plan"];
const everything = [...stages, "compiler/checkpoint", "compiler/emit", "compiler/explain", "compiler/export", "compiler/compile.ts", "compiler/index.ts", "compiler/version.ts", "runtime", "runtime/node.ts", "runtime/node-image.ts", "runtime/node-software.ts", "runtime/node-tuned.ts", "runtime/node-wait.ts", plan];

const laws: Readonly<Record<string, Zone>> = {
  // A user's spec and a generated package see the compiler and the runtime by their public names.
  specs: { packages: ["vitc"] },
  generated: { packages: ["vitc/runtime/codegen", "vitc/runtime/node"] }, // the second is Node's devices and files, or a browser's, by condition

  // The runtime is copied into packages and runs in browsers.
  runtime: { imports: [plan, ...recipes] },
  [plan]: {},
  "runtime/recipe-tree.ts": { imports: ["runtime/steps.ts"], types: [plan] },
  "runtime/steps.ts": { types: [plan] },
  "runtime/model.ts": { imports: ["runtime", plan], prints: true }, // its notices go to console.warn unless the user takes them
  "runtime/index.ts": { imports: ["runtime", "runtime/codegen.ts"] },
  "runtime/codegen.ts": { imports: ["runtime", "runtime/model.ts", plan] },
  "runtime/node.ts": { imports: ["runtime", "runtime/node-image.ts", "runtime/node-software.ts", "runtime/node-tuned.ts", "runtime/node-wait.ts"], ...node },
  "runtime/node-image.ts": { imports: ["runtime", "runtime/node-software.ts"], ...node },
  "runtime/node-software.ts": { imports: ["runtime", "runtime/node-tuned.ts"], ...node },
  "runtime/node-tuned.ts": { imports: ["runtime", plan], ...node },
  "runtime/node-wait.ts": node,

  // The compiler's stages.
  "compiler/spec": { packages: ["zod"] },
  "compiler/families": { imports: ["compiler/spec"], packages: ["zod"] },
  "compiler/ir": { imports: ["compiler/spec", "compiler/families"], ...node },
  "compiler/passes": { imports: ["compiler/ir"] },
  "compiler/kernels": { types: [plan] },
  "compiler/target": { types: ["compiler/kernels"] },
  "compiler/plan": { imports: [...stages, "compiler/version.ts", ...recipes], types: [plan], ...node },
  "compiler/version.ts": {},

  // What is made of a plan.
  "compiler/checkpoint": { imports: ["compiler/ir"], ...node },
  "compiler/emit": { imports: [...stages, "compiler/version.ts"], types: [plan], packages: ["node:*", "ts-morph"], node: true },
  "compiler/explain": { imports: [...stages, "compiler/version.ts"], types: [plan], ...node },
  "compiler/export": { imports: [...stages, "compiler/version.ts"], ...node },
  "compiler/compile.ts": { imports: [...stages, "compiler/emit"], types: [plan] },
  "compiler/index.ts": { imports: [...stages, "compiler/emit", "compiler/explain", "compiler/compile.ts", "compiler/version.ts", "compiler/sweep", "compiler/sweep/page"] },

  // What runs models.
  "compiler/measure": { imports: everything, ...node },
  "compiler/sweep/page": { imports: ["compiler/spec", "compiler/explain", "compiler/sweep", "compiler/version.ts"], packages: ["node:*", "echarts", "sharp"], node: true },
  "compiler/sweep": { imports: [...everything, "runtime/model.ts", "compiler/measure"], ...node },
  "compiler/cli": { imports: [...everything, "runtime/model.ts", "runtime/codegen.ts", "runtime/index.ts", "compiler/measure", "compiler/sweep", "compiler/sweep/page"], packages: ["node:*", "zod", "commander", "csv-parse/sync", "jiti", "sharp"], prints: true, node: true },
};

test("holds", () => assert.equal(violations(root, folders, laws), []));

/** What is said of files in a folder of their own. */
function said(files: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), "vitc-imports-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return violations(folder, folders, laws);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const empty = "export {};\n";

const planted: readonly (readonly [title: string, files: Readonly<Record<string, string>>, sentences: readonly string[]])[] = [
  ["a stage that reaches forward", { "compiler/spec/a.ts": 'import { b } from "../plan/b.js";', "compiler/plan/b.ts": empty }, ["compiler/spec/a.ts imports compiler/plan/b.ts"]],
  ["a pass that knows the plan by a type", { "compiler/passes/a.ts": 'import type { B } from "../plan/b.js";', "compiler/plan/b.ts": empty }, ["compiler/passes/a.ts imports compiler/plan/b.ts"]],
  ["an import type", { "compiler/ir/a.ts": 'export type A = import("../passes/b.js").B;', "compiler/passes/b.ts": empty }, ["compiler/ir/a.ts imports compiler/passes/b.ts"]],
  ["an export of another's", { "compiler/ir/a.ts": 'export * from "../emit/b.js";', "compiler/emit/b.ts": empty }, ["compiler/ir/a.ts imports compiler/emit/b.ts"]],
  ["an import while running", { "compiler/plan/a.ts": 'export const a = await import("../emit/b.js");', "compiler/emit/b.ts": empty }, ["compiler/plan/a.ts imports compiler/emit/b.ts"]],
  ["a kernel that knows the graph", { "compiler/kernels/a.ts": 'import type { Graph } from "../ir/graph.js";', "compiler/ir/graph.ts": empty }, ["compiler/kernels/a.ts imports compiler/ir/graph.ts"]],
  ["a target that knows the graph", { "compiler/target/a.ts": 'import type { Graph } from "../ir/graph.js";', "compiler/ir/graph.ts": empty }, ["compiler/target/a.ts imports compiler/ir/graph.ts"]],
  ["a value from the plan's types", { "compiler/plan/a.ts": 'import { type A, b } from "../../runtime/plan.js";', [plan]: empty }, ["compiler/plan/a.ts imports more than types from runtime/plan.ts"]],
  ["more of the runtime than the plan", { "compiler/emit/a.ts": 'import type { A } from "../../runtime/session.js";', "runtime/session.ts": empty }, ["compiler/emit/a.ts imports runtime/session.ts"]],
  ["a runtime that knows the compiler", { "runtime/a.ts": 'import { b } from "../compiler/version.js";', "compiler/version.ts": empty }, ["runtime/a.ts imports compiler/version.ts"]],
  ["a runtime for browsers that knows Node's", { "runtime/a.ts": 'import { b } from "./node.js";', "runtime/node.ts": empty }, ["runtime/a.ts imports runtime/node.ts"]],
  ["a module of Node in the runtime", { "runtime/a.ts": 'import { readFileSync } from "node:fs";' }, ["runtime/a.ts imports the package node:fs"]],
  ["a global of Node in the runtime", { "runtime/a.ts": "export const a = Buffer.alloc(process.env.A ? 1 : 2);" }, ["runtime/a.ts uses Buffer, which only Node has", "runtime/a.ts uses process.env, which only Node has"]],
  ["ts-morph outside emit", { "compiler/plan/a.ts": 'import { Project } from "ts-morph";' }, ["compiler/plan/a.ts imports the package ts-morph"]],
  ["zod outside spec, families and cli", { "compiler/ir/a.ts": 'import type { z } from "zod";' }, ["compiler/ir/a.ts imports the package zod"]],
  ["print outside cli", { "compiler/plan/a.ts": 'console.log("1");\nprocess.stdout.write(process.argv[0]!);\nprocess.exit(1);' }, ["compiler/plan/a.ts uses console", "compiler/plan/a.ts uses process.stdout", "compiler/plan/a.ts uses process.argv", "compiler/plan/a.ts uses process.exit"]],
  ["a spec that reaches into the compiler", { "specs/a.ts": 'import { b } from "../compiler/index.js";', "compiler/index.ts": empty }, ["specs/a.ts imports compiler/index.ts"]],
  ["a package that imports more than its door", { "generated/a/index.ts": 'import { b } from "vitc";' }, ["generated/a/index.ts imports the package vitc"]],
  ["a cycle", { "compiler/ir/a.ts": 'import { b } from "./b.js";', "compiler/ir/b.ts": 'import { c } from "./c.js";', "compiler/ir/c.ts": 'export { a } from "./a.js";' }, ["compiler/ir/a.ts imports compiler/ir/b.ts imports compiler/ir/c.ts imports compiler/ir/a.ts: a cycle"]],
  ["a utils.ts", { "compiler/ir/utils.ts": empty }, ["compiler/ir/utils.ts: a file is called by what it holds"]],
  ["a folder without a law", { "compiler/magic/a.ts": empty }, ["compiler/magic/a.ts is in no zone of the import law: give it one"]],
  ["a file that is not there", { "compiler/ir/a.ts": 'import { b } from "./b.js";' }, ["compiler/ir/a.ts imports compiler/ir/b.ts, which is not there"]],
];

for (const [title, files, sentences] of planted) test(`sees ${title}`, () => assert.equal(said(files), sentences));

test("lets pass what is right, and what only looks wrong", () => {
  assert.equal(
    said({
      "specs/a.ts": 'import { defineViT } from "vitc";',
      "generated/a/index.ts": 'import { load } from "vitc/runtime/codegen";\nimport { plan } from "./plan.js";',
      "generated/a/plan.ts": empty,
      "compiler/kernels/a.ts": 'import type { Kernel } from "../../runtime/plan.js";',
      [plan]: empty,
      // A cycle of types is erased, and text is no code.
      "compiler/ir/a.ts": 'import type { B } from "./b.js";\nexport const text = `import { x } from "zod"; console.log(1)`;\n// console.log(2)\nexport const log = { console: 1 }.console;',
      "compiler/ir/b.ts": 'import { text } from "./a.js";',
      "runtime/a.ts": "const { process } = globalThis as { process?: { exit?: unknown } };\nexport const b = process?.exit;",
      "compiler/cli/a.ts": 'import { z } from "zod";\nconsole.log(process.argv);',
    }),
    [],
  );
});

test.run();

import { IrError } from "../ir/ops/op.js";
import type { CompiledPlan } from "../plan/plan.js";
import { roller } from "./roll.js";

/**
 * The modules of a package's kernels, by path: one a kernel, with loops for what the compiler unrolled, and `kernels/index.ts` with all of them.
 * Kernels of one form stand together there, so that a compressed bundle stores what they have in common once.
 */
export function kernelFiles(variants: readonly CompiledPlan[], preamble: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const { id, code } of variants.flatMap(({ kernels }) => kernels)) {
    if ((texts.get(id) ?? code) !== code) throw new IrError(`two kernels are called ${id}`);
    texts.set(id, code);
  }
  const forms = new Map(variants.flatMap(({ plan }) => plan.routines).flatMap(({ choices }) => choices.flatMap(({ name, launches }) => launches.map(({ kernel }) => [kernel, `${name} ${kernel}`]))));
  const place = (id: string): string => forms.get(id) ?? id;
  const ids = [...texts.keys()].sort((a, b) => (place(a) < place(b) ? -1 : 1));
  const roll = roller();
  const files = new Map(ids.map((id) => [`kernels/${id}.ts`, kernelModule(id, roll(texts.get(id)!), preamble)]));
  files.set("kernels/times.ts", `${preamble}\n/** The texts for i = 0, 1, ..., count - 1, one after the other. */\nexport const times = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join("");\n`);
  const imports = ids.map((id) => `import { ${id} } from "./${id}.js";`).join("\n");
  files.set("kernels/index.ts", `${preamble}\n${imports}\n\n/** WGSL by kernel id. */\nexport const kernels: Readonly<Record<string, string>> = {\n${ids.map((id) => `  ${id},\n`).join("")}};\n`);
  return files;
}

function kernelModule(id: string, text: string, preamble: string): string {
  const imports = text.includes("${times(") ? 'import { times } from "./times.js";\n\n' : "";
  return `${preamble}\n${imports}export const ${id}: string = /* wgsl */ \`\n${text}\`;\n`;
}

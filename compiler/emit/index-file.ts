import type { SourceFile } from "ts-morph";
import type { Plan } from "../../runtime/plan.js";
import { needsOf, parametersOf } from "../plan/needs.js";
import type { CompiledPlan } from "../plan/plan.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import { printData } from "./print.js";

/** Where generated code finds the runtime. */
export interface RuntimeImports {
  /** `./runtime/codegen.js`, or `vitc/runtime/codegen`. */
  readonly codegen: string;
  /** `#platform` (package.json maps it to the Node or the browser side), or `vitc/runtime/node`. */
  readonly platform: string;
}

/** Photographs have one channel or three; others are tensors. */
export const takesPhotographs = ({ input: { shape } }: Plan): boolean => shape[0] === 1 || shape[0] === 3;

/** Names of the modules that hold a variant's plan and recipe; the first variant has the plain ones. */
export function variantFiles({ dtype }: Plan, index: number): { readonly planFile: string; readonly weightsFile: string } {
  return index === 0 ? { planFile: "plan", weightsFile: "weights" } : { planFile: `plan-${dtype}`, weightsFile: `weights-${dtype}` };
}

/** Writes a package's door: types that say what goes in and comes out, and `load`. */
export function writeIndex(file: SourceFile, spec: ResolvedSpec, variants: readonly [CompiledPlan, ...CompiledPlan[]], imports: RuntimeImports, command: string): void {
  const [{ plan, recipe }] = variants;
  const [channels, height, width] = plan.input.shape as [number, number, number];
  file.addImportDeclaration({ moduleSpecifier: imports.codegen, namedImports: ["canRunModel", "estimateModel", "loadModel", { name: "CanRun", isTypeOnly: true }, { name: "Estimate", isTypeOnly: true }, { name: "EstimateInput", isTypeOnly: true }, { name: "LoadOptions", alias: "RuntimeLoadOptions", isTypeOnly: true }, { name: "Model", isTypeOnly: true }, { name: "ModelDefinition", isTypeOnly: true }, { name: "Tensor", isTypeOnly: true }] });
  file.addImportDeclaration({ moduleSpecifier: "./kernels/index.js", namedImports: ["kernels"] });
  const named = variants.map(({ plan: { dtype } }, i) => (i === 0 ? { plan: "plan", recipe: "recipe" } : { plan: `plan_${dtype}`, recipe: `recipe_${dtype}` }));
  variants.forEach((variant, i) => {
    const { planFile, weightsFile } = variantFiles(variant.plan, i);
    const alias = (name: "plan" | "recipe") => (named[i]![name] === name ? name : { name, alias: named[i]![name] });
    file.addImportDeclaration({ moduleSpecifier: `./${planFile}.js`, namedImports: [alias("plan")] });
    file.addImportDeclaration({ moduleSpecifier: `./${weightsFile}.js`, namedImports: [alias("recipe")] });
  });
  file.addExportDeclaration({ moduleSpecifier: imports.codegen, namedExports: ["AdapterError", "DeviceLostError", "InputError", "OutOfMemoryError", "SelfTestError", "VitcError", "WeightsError"] });
  file.addExportDeclaration({ moduleSpecifier: imports.codegen, isTypeOnly: true, namedExports: ["AdapterInfo", "BufferInput", "CanRun", "DeviceImage", "DeviceOutputs", "DeviceTensor", "EncodedImage", "Estimate", "EstimateInput", "EstimateOptions", "ImagePixels", "Model", "ModelInput", "Photograph", "Prediction", "Progress", "RunManyOptions", "RunOptions", "SelfTestReport", "Tensor", "TensorInput", "WeightsInput", "WeightsSource"] });

  file.addInterface({
    name: "Outputs",
    isExported: true,
    docs: ["What a run returns: f32 values with their shape, one row an image."],
    properties: plan.outputs.map(({ name, shape }) => ({
      name: /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name),
      isReadonly: true,
      type: `Tensor<readonly [${shape.join(", ")}]>`,
      docs: [`${describeOutput(name)} [images, ${shape.join(", ")}].`],
    })),
  });
  const constant = (name: string, text: string, docs: string) => file.addVariableStatement({ isExported: true, declarationKind: "const" as never, docs: [docs], declarations: [{ name, initializer: text }] });
  constant("input", `${printData({ channels, height, width })} as const`, `What a run takes: images of ${channels} x ${height} x ${width} (channels, height, width) once preprocessed.`);
  if (plan.labels.length > 0) {
    constant("labels", `${printData(plan.labels)} as const`, "Class names in the order of the logits.");
    file.addTypeAlias({ name: "Label", isExported: true, type: "(typeof labels)[number]", docs: ["A class name."] });
  }
  const dtypes = variants.map((variant) => JSON.stringify(variant.plan.dtype)).join(" | ");
  file.addTypeAlias({ name: "DType", isExported: true, type: dtypes, docs: ["How matrices may be stored, by what the package was compiled for."] });
  file.addTypeAlias({ name: "LoadOptions", isExported: true, type: 'Omit<RuntimeLoadOptions, "dtype"> & { readonly dtype?: "auto" | DType }', docs: ["What `load` takes; `auto` (default) is the first of the dtypes that the device can run."] });
  const needs = Object.fromEntries(variants.map((variant) => [variant.plan.dtype, needsOf(variant.plan, variant.recipe)]));
  constant("needs", `${printData(needs)} as const`, "What the model needs of a device beyond WebGPU's defaults, its GPU memory and its download in bytes, by dtype in the order of preference.");
  file.addVariableStatement({
    declarationKind: "const" as never,
    declarations: [{ name: "definition", type: "ModelDefinition", initializer: `{ abi: ${abi}, variants: [${named.map((names) => `{ plan${names.plan === "plan" ? "" : `: ${names.plan}`}, kernels, recipe${names.recipe === "recipe" ? "" : `: ${names.recipe}`} }`).join(", ")}], command: ${JSON.stringify(command)}, platform: () => import(${JSON.stringify(imports.platform)})${takesPhotographs(plan) ? `, images: () => import("./images.js")` : ""}, selfTests: () => import("./self-tests.js") }` }],
  });
  const parameters = parametersOf(recipe);
  const model = `Model<Outputs${plan.main.classes ? `, ${plan.labels.length > 0 ? "Label" : "undefined"}` : ""}>`;
  file.addFunction({
    name: "canRun",
    isExported: true,
    parameters: [{ name: "on", type: "GPUDevice | GPUAdapter", hasQuestionToken: true }],
    returnType: "Promise<CanRun<DType>>",
    docs: ["Whether `load` would find what the model needs, on a device or adapter of yours, or on what it would ask for itself, and in which dtype; or all that is in the way. Nothing is downloaded or compiled."],
    statements: "return canRunModel<DType>(definition, on);",
  });
  file.addFunction({
    name: "load",
    isExported: true,
    parameters: [{ name: "options", type: "LoadOptions" }],
    returnType: `Promise<${model}>`,
    docs: [
      `Loads ${spec.name} (${parameters.toLocaleString("en-US")} parameters) onto a GPU, ready to \`run\`.\n@throws WeightsError listing everything that is wrong with the weight file; AdapterError when there is no usable GPU; OutOfMemoryError.`,
    ],
    statements: `return loadModel${model.slice("Model".length)}(definition, options);`,
  });
  file.addFunction({
    name: "estimate",
    isExported: true,
    parameters: [{ name: "on", type: "EstimateInput", hasQuestionToken: true }],
    returnType: "Promise<Estimate>",
    docs: [
      "Tells, before any weights are fetched, what a run will take here in milliseconds, what there is to download and to hold in megabytes, and whether that is fast, ok or slow. Times the heaviest kernels, in under a second on most adapters; give it a device or an adapter of yours, options, or nothing.\n@throws AdapterError when there is no usable GPU; OutOfMemoryError; DeviceLostError.",
    ],
    statements: "return estimateModel(definition, on);",
  });
}

/** The runtime ABI that generated code is written for; a test holds it equal to the runtime's. */
export const abi = 2;

function describeOutput(name: string): string {
  const block = /^blocks\.(\d+)$/.exec(name);
  if (block) return `Tokens after block ${block[1]},`;
  const map = /^blocks\.(\d+)\.(?:attns\.(\d)\.)?attn$/.exec(name);
  if (map) return `Attention of block ${map[1]}${map[2] === undefined ? "" : `, of its ${map[2] === "0" ? "first" : "second"}`}: how much each query takes of each key, by heads,`;
  const known: Record<string, string> = {
    logits: "Scores of the classes, before softmax,",
    features: "What the head reads,",
    embed: "Tokens before the first block,",
    norm: "Tokens after the last norm,",
    embedding: "What stands for the image, of length 1: their dot products are cosine similarities,",
    logits_cls: "Scores of the class token's head,",
    logits_dist: "Scores of the distillation token's head,",
  };
  return known[name] ?? `${name},`;
}

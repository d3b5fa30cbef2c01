/** The shapes of what the commands print with `--json`. `vitc schema COMMAND` prints them as JSON Schema. */
import { z } from "zod";
import { specJsonSchema } from "../spec/schema.js";
import { benchShape, profileShape } from "./json-bench.js";
import { explainGraphShape, explainKernelsShape, explainPassesShape, explainPlanShape, explainShape } from "./json-explain.js";
import { runShape } from "./json-run.js";

const count = z.number().int().min(0);
const bytes = (what: string) => count.describe(`${what}, in bytes.`);
const files = (what: string) => z.array(z.string()).describe(`${what}, relative to the package, sorted.`);

const compile = z.strictObject({
  name: z.string().describe("The spec's name."),
  spec: z.string().describe("The spec's file, relative to the package."),
  out: z.string().describe("The package's folder, absolute."),
  fingerprint: z.string().describe("Hash of the plan: equal plans have equal fingerprints."),
  files: count.describe("Files of the package."),
  changed: files("Files that are new or have a new text"),
  removed: files("Files of the package before that it no longer has"),
  kept: files("Files in the folder that vitc did not write, and kept"),
  kernels: count.describe("Different kernels, which is the number of GPU pipelines."),
  parameters: count.describe("Numbers in the weight file."),
  weightBytes: bytes("GPU memory of the weights"),
  profiles: z.array(z.strictObject({
    batch: count.describe("Images in a run."),
    dispatches: count.describe("Kernel launches in a run."),
    flops: count.describe("Floating point operations of a run; a multiply-add counts two."),
    bytes: bytes("What must move between memory and kernels in a run"),
    arenaBytes: bytes("GPU memory of the activations"),
  })).describe("One entry a batch size, ascending."),
});

const check = z.strictObject({
  stale: z.boolean().describe("Whether any package is not fresh; the exit code is then 1."),
  packages: z.array(z.strictObject({
    folder: z.string().describe("The package's folder, relative to the working directory."),
    spec: z.string().describe("What it was compiled from, relative to the working directory."),
    status: z.enum(["fresh", "stale", "broken"]).describe("`fresh`: compiling again gives the same bytes. `broken`: its spec is missing or does not compile."),
    changed: files("Files that differ from what compiling gives"),
    missing: files("Files that compiling gives and the folder lacks"),
    extra: files("Files of an earlier compile that compiling no longer gives"),
    problem: z.string().optional().describe("Why it is broken."),
    command: z.string().describe("What regenerates the package."),
  })),
});

const adapter = z.strictObject({
  name: z.string().describe("As the driver calls it."),
  software: z.boolean().describe("Whether kernels run on the CPU."),
  notice: z.string().optional().describe("What a user should know about it."),
});

const doctor = z.strictObject({
  usable: z.boolean().describe("Whether a model can run here; the exit code is 1 when not."),
  version: z.string().describe("vitc's."),
  node: z.string(),
  platform: z.string().describe("Operating system and processor."),
  folder: z.string().describe("Where the package lies that was asked about, or the working directory; absolute. npm packages are looked up from here."),
  webgpu: z.strictObject({
    installed: z.boolean().describe("Whether a package in the folder finds it."),
    version: z.string().optional(),
    folder: z.string().optional().describe("Where it was found."),
  }).describe("The npm package webgpu (Dawn for Node)."),
  gpu: adapter.nullable().describe("The GPU that a run may use, or null."),
  software: adapter.nullable().describe("The software adapter that a run may use, or null."),
  auto: adapter.nullable().describe("What a run uses when it is not told: the GPU, or else the software adapter."),
  softwareSource: z.string().nullable().describe("Where SwiftShader comes from, or null."),
  images: z.boolean().describe("Whether image files can be decoded (npm sharp)."),
  problems: z.array(z.strictObject({
    what: z.string().describe("What is missing, and why."),
    fix: z.string().describe("How to get it."),
    blocking: z.boolean().describe("Whether nothing can run without it."),
  })),
});

const pair = <T extends z.ZodType>(value: T) => z.strictObject({ a: value, b: value });
const dispatch = z.strictObject({
  kernel: z.string(),
  workgroups: z.tuple([count, count, count]).readonly(),
  flops: count,
  bytes: count,
});

const diff = z.strictObject({
  same: z.boolean().describe("Whether both plans are equal, to the last offset and line of WGSL."),
  name: pair(z.string()),
  fingerprint: pair(z.string()),
  weightBytes: pair(bytes("GPU memory of the weights")),
  kernels: z.strictObject({
    count: pair(count),
    added: z.array(z.string()).describe("Kernels that only B has."),
    removed: z.array(z.string()).describe("Kernels that only A has."),
    changed: z.array(z.string()).describe("Kernels of the same id and another text."),
  }),
  batches: z.strictObject({ onlyA: z.array(count), onlyB: z.array(count) }).describe("Batch sizes without a counterpart, which are not compared."),
  profiles: z.array(z.strictObject({
    batch: count,
    dispatches: pair(count),
    flops: pair(count),
    bytes: pair(count),
    arenaBytes: pair(bytes("GPU memory of the activations")),
    added: z.array(dispatch.extend({ label: z.string() })).describe("Dispatches that only B has."),
    removed: z.array(dispatch.extend({ label: z.string() })).describe("Dispatches that only A has."),
    changed: z.array(z.strictObject({ label: z.string(), a: dispatch, b: dispatch })).describe("Dispatches with the same label and another kernel, size or cost."),
    moved: count.describe("Dispatches that differ only in where their buffers lie."),
  })),
});

const init = z.strictObject({
  folder: z.string().describe("Absolute."),
  written: z.array(z.string()).describe("Files that were written, relative to the folder."),
  kept: z.array(z.string()).describe("Files that were there already and stay as they are."),
});

const initWeights = z.strictObject({
  file: z.string().describe("Absolute."),
  bytes: bytes("Size of the file"),
  tensors: count,
  parameters: count.describe("Numbers in the file."),
  seed: count,
  scheme: z.enum(["notes", "timm", "jax"]),
});

const exported = z.strictObject({
  file: z.string().describe("The ONNX file, absolute."),
  bytes: bytes("Its size"),
  external: z.strictObject({ file: z.string().describe("Absolute."), bytes: bytes("Its size") }).nullable().describe("The file beside it that holds the weights, or null when it holds them itself."),
  opset: count.describe("Version of ONNX's operators."),
  irVersion: count.describe("Version of ONNX's file format."),
  batch: count.nullable().describe("Images in a run, or null when the first axis of the input tells."),
  nodes: count.describe("ONNX nodes."),
  tensors: count.describe("Parameters of the model, each an initializer of its name."),
  parameters: count.describe("Numbers in them."),
  outputs: z.array(z.string()).describe("Names of the model's outputs."),
  ignored: z.array(z.string()).describe("Tensors of the weight file that the model does not use."),
});

const schema = z.strictObject({ names: z.array(z.string()).describe("What `vitc schema NAME` knows.") });

/** By command; `explain-plan` is `explain --emit plan`, and so on. */
export const jsonShapes = {
  init,
  compile,
  run: runShape,
  explain: explainShape,
  "explain-graph": explainGraphShape,
  "explain-passes": explainPassesShape,
  "explain-plan": explainPlanShape,
  "explain-wgsl": explainKernelsShape,
  bench: benchShape,
  profile: profileShape,
  diff,
  check,
  "init-weights": initWeights,
  export: exported,
  doctor,
  schema,
} as const;

export type CheckReport = z.infer<typeof check>;
export type DoctorReport = z.infer<typeof doctor>;
export type DiffReport = z.infer<typeof diff>;
export type JsonShapeName = keyof typeof jsonShapes;

/** The JSON Schema of a spec, or of what a command prints with `--json`. */
export const jsonSchemaOf = (name: "spec" | JsonShapeName): object => (name === "spec" ? specJsonSchema() : z.toJSONSchema(jsonShapes[name]));

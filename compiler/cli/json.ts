/** The shapes of what the commands print with `--json`. `vitc schema COMMAND` prints them as JSON Schema. */
import { z } from "zod";
import { specJsonSchema } from "../spec/schema.js";
import { benchShape, profileShape } from "./json-bench.js";
import { estimateShape } from "./json-estimate.js";
import { evalShape } from "./json-eval.js";
import { explainGraphShape, explainKernelsShape, explainPassesShape, explainPlanShape, explainRoutinesShape, explainShape } from "./json-explain.js";
import { packShape } from "./json-pack.js";
import { listShape } from "./json-list.js";
import { runShape } from "./json-run.js";
import { sweepMergeShape, sweepShape } from "./json-sweep.js";
import { tuneShape } from "./json-tune.js";

const count = z.number().int().min(0);
/** No whole number where a product is split by columns. */
const amount = z.number().min(0);
const bytes = (what: string) => amount.describe(`${what}, in bytes.`);
const files = (what: string) => z.array(z.string()).describe(`${what}, relative to the package, sorted.`);

const compiledPlan = {
  fingerprint: z.string().describe("Hash of the plan: equal plans have equal fingerprints."),
  kernels: count.describe("Different kernels; an adapter builds those of the ways that it takes."),
  weightBytes: bytes("GPU memory of the weights"),
  profiles: z.array(z.strictObject({
    batch: count.describe("Images in a run."),
    dispatches: count.describe("Steps of a run."),
    flops: amount.describe("Floating point operations of a run; a multiply-add counts two."),
    bytes: bytes("What must move between memory and kernels in a run"),
    arenaBytes: bytes("GPU memory of the activations"),
  })).describe("One entry a batch size, ascending."),
};

const compile = z.strictObject({
  name: z.string().describe("The spec's name."),
  spec: z.string().describe("The spec's file, relative to the package."),
  out: z.string().describe("The package's folder, absolute."),
  files: count.describe("Files of the package."),
  changed: files("Files that are new or have a new text"),
  removed: files("Files of the package before that it no longer has"),
  kept: files("Files in the folder that vitc did not write, and kept"),
  parameters: count.describe("Numbers in the weight file."),
  ...compiledPlan,
  variants: z.array(z.strictObject({
    dtype: z.enum(["f32", "f16"]).describe("How matrices are stored."),
    ...compiledPlan,
    routines: count.describe("What dispatches do, each in one of several ways."),
    tuned: z.array(z.strictObject({ adapter: z.string().describe("Its key."), routines: count })).describe("Adapters that it carries measured choices for, and of how many routines."),
  })).describe("One a dtype, in the order of preference; the fields above are the first's."),
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
  abilities: z.strictObject({
    key: z.string().describe("By which tuning tables name it."),
    target: z.string().describe("Its kind: the cost model ranks kernels for it."),
    subgroupSize: count.nullable().describe("Invocations of a subgroup, where that is always the same."),
    features: z.array(z.strictObject({ name: z.string().describe("WebGPU's."), there: z.boolean(), means: z.string().describe("What follows for models.") })).describe("Those that matter."),
    matrices: z.array(z.strictObject({ m: count, n: count, k: count, component: z.string(), result: z.string() })).describe("Shapes of subgroup matrices. Kernels use those of f16 that are added up in f32."),
  }),
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
  routine: z.string().describe("What it does."),
  choices: z.array(z.string()).describe("Names of the ways to do it."),
  taken: z.record(z.string(), z.string()).describe("Which of them each kind of adapter takes, if it has what that needs and was not tuned."),
  flops: amount,
  bytes: amount,
});

const diff = z.strictObject({
  same: z.boolean().describe("Whether nothing differs: both plans to the last offset and line of WGSL, the plans of other dtypes, and the measured choices."),
  samePlan: z.boolean().describe("Whether the two plans that are compared are equal."),
  name: pair(z.string()),
  fingerprint: pair(z.string()),
  dtype: pair(z.enum(["f32", "f16"])).describe("How matrices are stored in the plans that are compared."),
  dtypes: pair(z.array(z.enum(["f32", "f16"]))).describe("All that there are plans for, in the order of preference; with --dtype the one."),
  otherPlans: z.array(z.enum(["f32", "f16"])).describe("Dtypes besides of which both have a plan, and not the same."),
  tuned: z.strictObject({
    onlyA: z.array(z.string()),
    onlyB: z.array(z.string()),
    changed: z.array(z.string()),
  }).describe("Adapters, by their keys, of which one carries measured choices and the other none, or others. A spec carries none."),
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
    flops: pair(amount),
    bytes: pair(amount),
    arenaBytes: pair(bytes("GPU memory of the activations")),
    expected: z.record(z.string(), pair(z.number().min(0))).describe("Microseconds that the cost model expects of a run on each kind of adapter."),
    added: z.array(dispatch.extend({ label: z.string() })).describe("Dispatches that only B has."),
    removed: z.array(dispatch.extend({ label: z.string() })).describe("Dispatches that only A has."),
    changed: z.array(z.strictObject({ label: z.string(), a: dispatch, b: dispatch })).describe("Dispatches with the same label that do something else, in other ways, or at another cost."),
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
  eval: evalShape,
  explain: explainShape,
  "explain-graph": explainGraphShape,
  "explain-passes": explainPassesShape,
  "explain-routines": explainRoutinesShape,
  "explain-plan": explainPlanShape,
  "explain-wgsl": explainKernelsShape,
  estimate: estimateShape,
  bench: benchShape,
  profile: profileShape,
  sweep: sweepShape,
  "sweep-merge": sweepMergeShape,
  tune: tuneShape,
  diff,
  check,
  "init-weights": initWeights,
  list: listShape,
  pack: packShape,
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

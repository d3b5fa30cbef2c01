/** The shapes of what `vitc explain` prints with `--json`: one for the report, one for each `--emit`. */
import { z } from "zod";
import { specSchema } from "../spec/schema.js";

const count = z.number().int().min(0);
const bytes = (what: string) => z.number().min(0).describe(`${what}, in bytes.`);
const flops = z.number().min(0).describe("Floating point operations; a multiply-add counts two.");
const list = <T extends z.ZodType>(entry: T) => z.array(entry).readonly();
const sizes = (what: string) => list(count).describe(what);
const texts = (what: string) => list(z.string()).describe(what);
const triple = z.tuple([count, count, count]).readonly();

const label = z.string().describe("Where in the model, as `blocks.3.mlp.fc1`.");
const kind = z.enum(["convolution", "matmul", "attention", "norm", "embed", "pool", "sum"]).describe("What the dispatch mostly does.");
const view = z.tuple([z.string().describe("Buffer: `input`, `weights.<i>` or an arena."), count.describe("Byte offset."), count.describe("Bytes.")]).readonly();
const views = list(view).describe("What each binding of the kernel sees, in order; the result is the last.");
const workgroups = triple.describe("Workgroup counts.");
const kernelId = z.string().describe("Id of the kernel.");

// ------------------------------------------------------------------------------------------------------ report

const dispatch = z.strictObject({
  index: count.describe("Position in the run."),
  label,
  kind,
  block: count.nullable().describe("The encoder block; null before the first and after the last."),
  kernel: kernelId,
  workgroups,
  views,
  shape: sizes("Of the result, without the batch axis."),
  flops,
  bytes: bytes("What must move between memory and the kernel at least once"),
  weightBytes: bytes("The part of it that are weights"),
  intensity: z.number().min(0).describe("FLOPs a byte."),
  reads: list(z.number().int().min(-1)).describe("Indices of the dispatches whose results it reads; -1 is the model's input."),
  inPlace: z.boolean().describe("Whether the result is written over one of the values read."),
  covers: list(z.strictObject({ name: z.string(), op: z.string() })).describe("The nodes of the graph as built that it computes."),
  outputs: texts("Outputs of the model that it makes."),
});

const lifetime = z.strictObject({
  label: z.string().describe("The dispatch that writes the value."),
  kind,
  shape: sizes("Without the batch axis."),
  offset: count.describe("First byte in the arena."),
  bytes: bytes("Size"),
  from: count.describe("Index of the dispatch that writes it."),
  to: count.describe("Index of the last dispatch that needs it; the number of dispatches for outputs. A value that is updated in place ends before its successor begins."),
  inPlace: z.boolean().describe("Whether it took over the bytes of the value it updates."),
  outputs: texts("Outputs of the model that it is."),
});

const total = { dispatches: count, flops, bytes: bytes("Moved") };

const profile = z.strictObject({
  batch: count.describe("Images in a run."),
  dispatches: list(dispatch),
  stages: list(z.strictObject({
    name: z.enum(["embedding", "blocks", "head"]),
    first: count.describe("Index of its first dispatch."),
    count: count.describe("Dispatches in one repetition."),
    repeats: count.describe("How many equal blocks follow one another."),
    block: count.nullable().describe("The first block of it."),
  })).describe("The run in parts; neighbouring blocks that are equal are one."),
  flops,
  bytes: bytes("Moved"),
  byKind: list(z.strictObject({ kind, ...total })),
  byBlock: list(z.strictObject({ block: z.string().describe("`embedding`, `blocks.0`, ..., `head`."), ...total })),
  arenas: list(z.strictObject({ name: z.string(), bytes: bytes("Size"), values: list(lifetime).describe("Which value lies where, and when.") })).describe("Buffers of the activations."),
});

const graphSize = z.strictObject({
  nodes: count,
  ops: z.record(z.string(), count).readonly().describe("How many nodes of each op."),
  bytes: bytes("To and from memory if every node were a kernel of its own"),
});

const event = z.strictObject({
  node: z.string(),
  fired: z.boolean().describe("Whether the rewrite was done, or declined."),
  reason: z.string(),
});

const pass = z.strictObject({
  name: z.string(),
  why: z.string().describe("Why the pass is there."),
  nodesBefore: count,
  nodesAfter: count,
  fired: count,
  declined: count,
  events: list(event),
});

const kernel = z.strictObject({
  id: z.string(),
  kind,
  bindings: list(z.strictObject({ name: z.string(), access: z.enum(["read", "read_write"]) })).describe("Binding i is at @group(0) @binding(i)."),
  workgroupSize: triple.describe("Invocations of a workgroup."),
  dispatches: count.describe("How many dispatches of all batch sizes launch it."),
  code: z.string().describe("WGSL."),
});

const geometry = z.strictObject({
  map: triple.describe("[channels, height, width] that patches are cut from: the image, or what the stem leaves of it."),
  grid: z.tuple([count, count]).readonly().describe("Patches down and across."),
  patches: count,
  prefix: count.describe("Class and distillation tokens."),
  tokens: count.describe("Prefix and patches."),
  features: count.describe("Width of what the head reads."),
});

/** `vitc explain SPEC --json`. */
export const explainShape = z.strictObject({
  vitc: z.string().describe("Version of the compiler."),
  name: z.string(),
  fingerprint: z.string().describe("Of the plan: equal plans have equal fingerprints."),
  spec: specSchema.describe("The spec with every default spelled out."),
  geometry: geometry.describe("Sizes that follow from the spec."),
  parameters: count.describe("Numbers in the weight file that the model reads."),
  graph: z.strictObject({ built: graphSize, lowered: graphSize }).describe("The graph as built, and after all passes."),
  passes: list(pass).describe("In the order in which they run."),
  profiles: list(profile).describe("One for each batch size, ascending."),
  kernels: list(kernel),
  weights: z.strictObject({
    bytes: bytes("GPU memory of all"),
    buffers: list(count).describe("Bytes of each buffer."),
    tensors: list(z.strictObject({
      name: z.string(),
      buffer: count.describe("`weights.<i>`."),
      offset: count,
      bytes: bytes("Size"),
      shape: sizes("As packed."),
      sources: texts("Names in the weight file."),
      steps: texts("What the recipe does with them, in order."),
    })),
  }),
  limits: list(z.strictObject({
    name: z.string().describe("WebGPU's name of the limit."),
    unit: z.enum(["bytes", "count"]),
    needed: z.number().min(0),
    guaranteed: z.number().min(0).describe("What every device grants unasked."),
    by: z.string().describe("What needs it most."),
  })),
});

// -------------------------------------------------------------------------------------------------------- emit

const plannedProfile = {
  batch: count.describe("Images in a run."),
  arenas: list(z.strictObject({ name: z.string(), bytes: bytes("Size") })).describe("Buffers of the activations."),
  dispatches: list(z.strictObject({ label, kernel: kernelId, views, workgroups, flops, bytes: bytes("What must move between memory and the kernel at least once") })),
  input: view.describe("Where a run finds the images."),
  outputs: list(z.strictObject({ name: z.string(), view, readback: count.describe("First byte of its copy in the buffer for reading.") })).describe("Where a run leaves the outputs."),
  readbackBytes: bytes("Buffer that outputs are copied to for reading"),
  flops,
  bytes: bytes("Moved"),
};

const tensor = z.strictObject({ name: z.string(), shape: sizes("Without the batch axis."), dtype: z.enum(["f32"]) });

/** `vitc explain SPEC --emit plan --json`: the first batch size, what all batch sizes share, and the other batch sizes. */
export const explainPlanShape = z.strictObject({
  name: z.string(),
  fingerprint: z.string().describe("Equal plans have equal fingerprints."),
  ...plannedProfile,
  moreBatches: list(z.strictObject(plannedProfile)).describe("The same for the other batch sizes, ascending."),
  tensors: z.strictObject({ input: tensor, outputs: list(tensor) }).describe("What goes in and comes out, as the user sees it."),
  labels: texts("Class names."),
  preprocess: z.strictObject({
    crop: z.enum(["center", "squash"]),
    cropPct: z.number(),
    interpolation: z.enum(["bilinear", "bicubic", "lanczos", "nearest"]),
    mean: list(z.number()),
    std: list(z.number()),
  }).describe("How a photograph becomes the input."),
  kernels: list(kernel.pick({ id: true, bindings: true, workgroupSize: true })),
  weightBuffers: list(count).describe("Bytes of each weight buffer."),
  limits: z.record(z.string(), z.number()).readonly().describe("Device limits needed beyond WebGPU's defaults."),
});

/** `vitc explain SPEC --emit spec --json`: also what it prints without `--json`. */
export const explainSpecShape = specSchema;

const named = z.strictObject({ name: z.string(), shape: sizes("Batch first.") });

/** `vitc explain SPEC --emit graph --json`. */
export const explainGraphShape = z.strictObject({
  name: z.string(),
  stage: z.string().describe("`build`, the pass after which the graph is shown, or `lowered`."),
  inputs: list(named),
  parameters: list(named).describe("Weights, by their names in the weight file."),
  nodes: list(z.strictObject({
    value: z.string().describe("Its output: `%3`."),
    name: z.string().describe("Where in the model."),
    op: z.string(),
    attrs: z.record(z.string(), z.unknown()).readonly(),
    inputs: texts("Values: `%3` of a node, `%input`, `$head.weight` of a parameter."),
    shape: sizes("Batch first."),
  })),
  outputs: list(z.strictObject({ name: z.string(), value: z.string(), shape: sizes("Batch first.") })),
});

/** `vitc explain SPEC --emit passes --json`. */
export const explainPassesShape = z.strictObject({ passes: list(pass).describe("In the order in which they run.") });

/** `vitc explain SPEC --emit wgsl --json`. */
export const explainKernelsShape = z.strictObject({ kernels: list(kernel) });

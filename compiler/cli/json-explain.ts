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
const views = list(view).describe("The operands: inputs, weights, the result, then scratch memory that some choices need.");
const workgroups = triple.describe("Workgroup counts.");
const kernelId = z.string().describe("Id of the kernel.");
const routineId = z.string().describe("Id of the routine: what the dispatch does.");
const dtype = z.enum(["f32", "f16"]).describe("How matrices are stored; arithmetic is f32 in any case.");
const byTarget = <T extends z.ZodType>(value: T) => z.record(z.string(), value).readonly();

// ------------------------------------------------------------------------------------------------------ report

const dispatch = z.strictObject({
  index: count.describe("Position in the run."),
  label,
  kind,
  block: count.nullable().describe("The encoder block; null before the first and after the last."),
  routine: routineId,
  views,
  result: count.describe("Index of the view that is the result."),
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
  scratch: z.boolean().describe("Whether it holds nothing before and after its dispatch."),
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
  expected: byTarget(z.number().min(0)).describe("Microseconds that a run is expected to take on each kind of adapter; good for comparisons of the same kind alone."),
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

const plannedKernel = {
  id: z.string(),
  bindings: list(z.strictObject({ name: z.string(), access: z.enum(["read", "read_write"]), bytes: bytes("What the kernel may touch, from the beginning") })).describe("Binding i is at @group(0) @binding(i)."),
  workgroupSize: triple.describe("Invocations of a workgroup."),
  features: texts("WebGPU features that the device must have been made with.").optional(),
  subgroupSize: count.optional().describe("Invocations of a subgroup that it is right for; any if it is absent."),
  matrix: triple.optional().describe("Shape [m, n, k] of the subgroup matrices that it needs."),
};

const kernel = z.strictObject({
  ...plannedKernel,
  kind,
  routines: texts("Routines that have it in one of their choices."),
  dispatches: count.describe("How many dispatches of all batch sizes do these."),
  takenOn: texts("The kinds of adapter that launch it."),
  code: z.string().describe("WGSL."),
});

const routine = z.strictObject({
  id: z.string(),
  kind,
  dispatches: count.describe("How many dispatches of all batch sizes do it."),
  choices: list(z.strictObject({
    name: z.string().describe("Unique in the routine, and the same for routines alike; tuning tables name it."),
    launches: list(z.strictObject({ kernel: kernelId, workgroups })).describe("Usually one; the last writes the result."),
    costs: byTarget(z.number().min(0)).describe("Microseconds that the cost model expects on each kind of adapter."),
    features: texts("WebGPU features that it needs."),
    subgroupSize: count.nullable().describe("Invocations of a subgroup that it needs; null for any."),
    matrix: triple.nullable().describe("Shape of subgroup matrices that it needs; null for none."),
  })).describe("The ways to do it; the first is right on every adapter."),
  taken: byTarget(z.string()).describe("The choice of each kind of adapter, if it has what the choice needs and was not tuned."),
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
  dtype,
  targets: texts("The kinds of adapter that choices are ranked for."),
  spec: specSchema.describe("The spec with every default spelled out."),
  geometry: geometry.describe("Sizes that follow from the spec."),
  parameters: count.describe("Numbers in the weight file that the model reads."),
  graph: z.strictObject({ built: graphSize, lowered: graphSize }).describe("The graph as built, and after all passes."),
  passes: list(pass).describe("In the order in which they run."),
  profiles: list(profile).describe("One for each batch size, ascending."),
  routines: list(routine),
  kernels: list(kernel),
  weights: z.strictObject({
    bytes: bytes("GPU memory of all"),
    buffers: list(count).describe("Bytes of each buffer."),
    tensors: list(z.strictObject({
      name: z.string(),
      buffer: count.describe("`weights.<i>`."),
      offset: count,
      bytes: bytes("Size"),
      dtype,
      shape: sizes("As packed."),
      sources: texts("Names in the weight file."),
      steps: texts("What the recipe does with them, in order."),
    })),
  }),
  needs: z.strictObject({
    features: texts("WebGPU features that it cannot run without."),
    limits: z.record(z.string(), z.number()).readonly().describe("Device limits needed beyond WebGPU's defaults."),
    gpuBytes: bytes("GPU memory, for all batch sizes"),
    downloadBytes: z.strictObject({ packed: bytes("Weights as vitc pack writes them"), safetensors: bytes("The model's parameters in a file of this dtype") }),
  }).describe("What the package exports as needs, for this dtype."),
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
  dispatches: list(z.strictObject({ label, routine: routineId, views, flops, bytes: bytes("What must move between memory and the kernel at least once") })),
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
  model: z.string().describe("Hash of what is computed: equal for plans that give equal results for equal weights up to rounding."),
  dtype,
  ...plannedProfile,
  moreBatches: list(z.strictObject(plannedProfile)).describe("The same for the other batch sizes, ascending."),
  tensors: z.strictObject({ input: tensor, outputs: list(tensor) }).describe("What goes in and comes out, as the user sees it."),
  main: z.strictObject({ name: z.string(), classes: z.boolean().describe("Whether it holds a logit for each class.") }).describe("The output that a user wants first."),
  labels: texts("Class names."),
  preprocess: z.strictObject({
    crop: z.enum(["center", "squash", "border"]),
    resize: z.union([z.tuple([count, count]).readonly(), z.literal("none")]).describe("Height and width before the crop."),
    cropOffset: z.enum(["round", "floor"]),
    interpolation: z.enum(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
    rescale: z.enum(["after", "before"]),
    rescaleFactor: z.number(),
    mean: list(z.number()),
    std: list(z.number()),
    normalize: z.enum(["outside", "inside"]),
  }).describe("How a photograph becomes the input."),
  kernels: list(z.strictObject(plannedKernel)),
  routines: list(z.strictObject({
    id: z.string(),
    choices: list(z.strictObject({
      name: z.string(),
      launches: list(z.strictObject({ kernel: kernelId, workgroups, bind: list(count).optional().describe("Which views its bindings are; absent: all, in order.") })),
      costs: list(z.number().min(0)).describe("Microseconds that the cost model expects on each of `targets`."),
    })),
  })),
  targets: texts("The kinds of adapter that choices are ranked for."),
  tuned: list(z.strictObject({ adapter: z.string(), choices: z.record(z.string(), z.string()).readonly() })).describe("Measured choices by adapter; none in a plan that is not of a package."),
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

/** `vitc explain SPEC --emit routines --json`. */
export const explainRoutinesShape = z.strictObject({ targets: texts("The kinds of adapter that choices are ranked for."), routines: list(routine) });

/** `vitc explain SPEC --emit wgsl --json`. */
export const explainKernelsShape = z.strictObject({ kernels: list(kernel) });

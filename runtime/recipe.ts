/**
 * The steps between a weight file and what the kernels read. Steps that only move data keep the type they are given and share memory where
 * they can; steps that compute do so in f64. The result is rounded once, at the end, to the type that the tensor is stored in.
 */

import { firstNotFinite, indexAt, type Floats } from "./decode.js";
import { VitcError, WeightsError } from "./errors.js";
import { around, equalShapes, foldNormScale, foldNormShift, inParts, like, partOf, scaleChannels, scaleRows, tokenTable, type Register } from "./folds.js";
import type { PackedTensor, WeightSource, WeightStep } from "./plan.js";
import type { RareStep } from "./rare-steps.js";
import { elementCount } from "./file-tensors.js";
import { packRows, rowWiseOf } from "./row-blocks.js";
import { quote } from "./source.js";
import { operands } from "./steps.js";
import { transpose } from "./transpose.js";
import { Workspace } from "./workspace.js";

/** The elements of a packed tensor in the type that it is stored in; f16 as words. */
export type Packed = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** The elements of a source: all of them, or in parts, each good until the next is read. */
export type ReadValues = Floats | { readonly length: number; part(start: number, end: number): Floats; whole(): Floats };

/** Told packed elements, and their place among those of the tensor. Their memory is used again once it is done: copy what is kept. */
export type WriteStrip = (data: Packed, at: number) => void | Promise<void>;

/** Makes one tensor: see `packStrips`. The result may share memory with what `read` returned, or is in the workspace. */
export async function packTensor(tensor: PackedTensor, read: Parameters<typeof packStrips>[1], workspace: Workspace = new Workspace()): Promise<Packed> {
  const length = elementCount(tensor.shape);
  let whole: Packed | undefined;
  const write: WriteStrip = (data, at) => {
    if (data.length === length) whole = data;
    else (whole ??= tensor.dtype === "f16" ? new Uint16Array(length) : new Float32Array(length)).set(data, at);
  };
  await packStrips(tensor, read, write, workspace);
  return whole!;
}

/** A packed tensor, or a part of one that is joined: see `joined.ts`. */
export interface PackedPart extends PackedTensor {
  /** Elements from one row of a matrix to the next, where other parts lie between them. Default: those of a row. */
  readonly stride?: number;
}

/** Writes elements of a packed tensor, from `at` on, where they belong: row by row where other parts lie between the rows. */
export async function place({ buffer, offset, shape, stride }: PackedPart, data: Packed, at: number, write: (buffer: number, offset: number, data: Packed) => void | Promise<void>): Promise<void> {
  if (stride === undefined) return write(buffer, offset + at * data.BYTES_PER_ELEMENT, data);
  const columns = shape[1]!;
  for (let i = 0; i < data.length; i += columns) {
    const waits = write(buffer, offset + ((at + i) / columns) * stride * data.BYTES_PER_ELEMENT, data.subarray(i, i + columns));
    if (waits) await waits;
  }
}

/**
 * Makes one tensor as the kernels want it, whole or in strips from the first to the last. `read` returns the row-major elements of a source; it is
 * called once for each.
 *
 * @throws WeightsError when a value leaves the type that it is stored in (a negative variance, one too large), VitcError with code "validation" when the
 * recipe contradicts itself, and whatever `read` throws
 */
export async function packStrips(tensor: PackedTensor, read: (source: WeightSource, index: number) => Promise<ReadValues>, write: WriteStrip, workspace: Workspace = new Workspace()): Promise<void> {
  const data = await Promise.all(tensor.sources.map((source, i) => read(source, i)));
  const registers = tensor.sources.map(({ shape }, i): Register => {
    const values = data[i]!;
    expectCount(tensor.name, shape, values.length);
    return "part" in values ? inParts(shape, values.part, values.whole) : { shape, data: values };
  });
  const rare = tensor.steps.some(isRare) ? await import("./rare-steps.js") : undefined;
  const last = lastUses(tensor);
  const half = tensor.dtype === "f16" ? await import("./half.js") : undefined;
  const rowWise = rowWiseOf(tensor);
  for (const [i, step] of tensor.steps.entries()) {
    if (i === rowWise?.from && (await packRows(tensor, rowWise, registers, half, isBalanced(tensor), workspace, write))) return;
    registers.push(runStep(step, tensor.name, registers, rare?.evaluateRare));
    // What nobody reads any more goes at once: a register of a large matrix is tens of megabytes.
    for (const of of operands(step)) if (last.get(of) === i) registers[of] = emptied;
  }
  const result = registers.at(-1);
  if (result === undefined) throw contradiction(tensor.name, "it has neither sources nor steps");
  if (!equalShapes(result.shape, tensor.shape)) {
    throw contradiction(tensor.name, `its steps make [${result.shape.join(", ")}], it should be [${tensor.shape.join(", ")}]`);
  }
  // What is balanced is rounded as a whole: what a value loses is another's.
  const length = elementCount(tensor.shape);
  const most = result.part && !isBalanced(tensor) ? Math.min(length, partElements) : length;
  let start = 0;
  do {
    const end = Math.min(start + most, length);
    const values = partOf(result, start, end);
    await write(half === undefined && values instanceof Float32Array ? values : rounded(values, start, tensor, half), start);
    start = end;
  } while (start < length);
}

/** Elements of a register in parts that are rounded at once. */
const partElements = 2 ** 18;

const emptied: Register = { shape: [0], data: new Float32Array() };

/** The last step that reads each register. */
const lastUses = ({ steps }: PackedTensor): ReadonlyMap<number, number> => new Map(steps.flatMap((step, i) => operands(step).map((of) => [of, i] as const)));

/** The weight behind a norm has columns whose sum is zero, so that the mean of a row drops out; halves are rounded so that they stay so. */
const isBalanced = ({ shape, steps }: PackedTensor): boolean => shape.length === 2 && steps.some((step) => step.op === "foldNormScale" && step.centre);

/**
 * The one rounding, of the values from `start` on. Values that were only moved are as finite as `read` made them; what is computed, or rounded to
 * less, is checked here.
 */
function rounded(values: Floats, start: number, tensor: PackedTensor, half: typeof import("./half.js") | undefined): Packed {
  const { name, shape, dtype } = tensor;
  const result = half === undefined ? new Float32Array(values) : isBalanced(tensor) ? half.toHalvesBalanced(values, shape[1]!) : half.toHalves(values);
  const position = result instanceof Uint16Array ? half!.firstBeyondHalf(result) : firstNotFinite(result);
  if (position < 0) return result;
  const becomes = result instanceof Uint16Array ? "too large" : String(result[position]);
  const fits = dtype === "f16" && Number.isFinite(Math.fround(values[position]!));
  const fix = fits ? "f32 can hold it: load or compile with dtype f32" : "the file is damaged or its values are too large";
  const message = `${quote(name)} becomes ${becomes} at ${indexAt(start + position, shape)} when it is packed as ${dtype} (from ${values[position]}); ${fix}`;
  throw new WeightsError([{ kind: fits ? "range" : "value", tensor: name, message }], "weights");
}

/** Steps that few models need: their code is loaded with the first. */
const rareOps: Readonly<Record<RareStep["op"], true>> = {
  foldBatchNormScale: true, foldBatchNormShift: true, foldPixelScale: true, foldPixelShift: true, weightLinear: true, queryValueBias: true, differentialFactor: true,
  resampleTable: true, resampleRelative: true, resamplePatch: true, rotaryTable: true, sincos2d: true, sincos1d: true, concat: true, scale: true, pad: true,
}; // prettier-ignore

const isRare = (step: WeightStep): step is RareStep => Object.hasOwn(rareOps, step.op);

type EvaluateRare = typeof import("./rare-steps.js").evaluateRare;

function runStep(step: WeightStep, name: string, registers: readonly Register[], evaluateRare: EvaluateRare | undefined): Register {
  const at = (index: number): Register => {
    const register = registers[index];
    if (register === undefined) throw contradiction(name, `step "${step.op}" reads register ${index} of ${registers.length}`);
    return register;
  };
  const result = isRare(step) ? evaluateRare!(step, at) : evaluate(step, at);
  if (typeof result === "string") throw contradiction(name, `step "${step.op}" ${result}`);
  // Those in parts have what their operands have.
  if (result.part === undefined) expectCount(name, result.shape, result.data.length);
  return result;
}

/** The step's result, or how its operands do not fit it. */
function evaluate(step: Exclude<WeightStep, RareStep>, at: (index: number) => Register): Register | string {
  switch (step.op) {
    case "reshape":
      return reshape(at(step.of), step.shape);
    case "transpose":
      return permute(at(step.of), step.axes);
    case "slice":
      return slice(at(step.of), step.axis, step.start, step.end);
    case "foldNormScale":
      return foldNormScale(at(step.of[0]), at(step.of[1]), step.centre);
    case "foldNormShift": {
      const [weight, beta, bias] = step.of;
      return foldNormShift(at(weight), at(beta), bias === undefined ? undefined : at(bias));
    }
    case "scaleRows":
      return scaleRows(at(step.of), step.start, step.end, step.factor);
    case "scaleChannels":
      return scaleChannels(at(step.of[0]), at(step.of[1]));
    case "tokenTable":
      return tokenTable(step.of.map(at), step);
    default:
      return step satisfies never;
  }
}

function reshape(of: Register, shape: readonly number[]): Register | string {
  if (elementCount(shape) !== elementCount(of.shape)) return `makes [${shape.join(", ")}] of [${of.shape.join(", ")}]`;
  return of.part ? inParts(shape, of.part, () => of.data) : { shape, data: of.data };
}

function permute(of: Register, axes: readonly number[]): Register | string {
  const sorted = axes.toSorted((a, b) => a - b);
  if (axes.length !== of.shape.length || sorted.some((axis, i) => axis !== i)) return `orders the axes of [${of.shape.join(", ")}] as [${axes.join(", ")}]`;
  return { shape: axes.map((axis) => of.shape[axis]!), data: transpose(of.data, of.shape, axes) };
}

function slice(of: Register, axis: number, start: number, end: number): Register | string {
  const { shape } = of;
  const extent = shape[axis];
  if (extent === undefined || !(0 <= start && start <= end && end <= extent)) return `takes ${start} to ${end} of axis ${axis} of [${shape.join(", ")}]`;
  const sliced = shape.with(axis, end - start);
  const [rows, inner] = around(shape, axis);
  const whole = (): Floats => of.data.subarray(start * inner, end * inner);
  if (rows === 1) return of.part ? inParts(sliced, (first, last) => partOf(of, start * inner + first, start * inner + last), whole) : { shape: sliced, data: whole() };
  const { data } = of;
  const result = like(data, elementCount(sliced));
  for (let row = 0; row < rows; row++) {
    const first = (row * extent + start) * inner;
    result.set(data.subarray(first, first + (end - start) * inner), row * (end - start) * inner);
  }
  return { shape: sliced, data: result };
}

function expectCount(name: string, shape: readonly number[], count: number): void {
  if (elementCount(shape) !== count) throw contradiction(name, `[${shape.join(", ")}] has ${elementCount(shape)} elements, got ${count}`);
}

/** The recipe is the compiler's, so this is no fault of the weight file. */
function contradiction(name: string, message: string): VitcError {
  return new VitcError("validation", `the weight recipe of "${name}" contradicts itself: ${message}; compile the model again, and report it if that does not help`);
}

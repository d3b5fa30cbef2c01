/**
 * Kernels that are launched as they are, without a graph that is lowered to them: on operands in the order of their bindings, beside what the
 * ops that they stand for make of the same numbers in f64.
 */
import * as assert from "uvu/assert";
import { GraphBuilder, type Value } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { elements, type Tensor } from "../../compiler/ir/ops/op.js";
import { single, type Candidate } from "../../compiler/kernels/candidate.js";
import type { Launch } from "../../compiler/kernels/kernel.js";
import { toHalves } from "../../runtime/half.js";
import type { DType } from "../../runtime/plan.js";
import { fromHalves, roundToHalf } from "./halves.js";
import { demandNone, dispatch, read, runsOn, upload, type Mutation } from "./run-kernel.js";

/** What a binding other than the result holds. */
export interface Given extends Tensor {
  readonly name: string;
  readonly dtype: DType;
}

/** One routine, its operands, and how far each element of its result may be from f64. */
export interface LaunchCase {
  readonly candidates: readonly Candidate[];
  /** In the order of the bindings, in front of the result. */
  readonly given: readonly Given[];
  readonly dtype: DType;
  /** What lies in the result's memory before; nothing but NaN where it is undefined. */
  readonly before: Tensor | undefined;
  readonly exact: Tensor;
  readonly bound: (index: number) => number;
}

export interface LaunchParts {
  readonly launch: Launch | readonly Candidate[];
  readonly given: readonly Given[];
  /** How the result is stored. */
  readonly dtype?: DType;
  /** The result takes over the memory of this tensor. */
  readonly inPlace?: Given;
  /** What the kernel is to compute, from what is given by name. */
  readonly define: (b: GraphBuilder, of: (name: string) => Value) => Value;
  /** From the exact result. In f16 a rounding is added. */
  readonly bound: (exact: Tensor) => (index: number) => number;
}

/** Half the spacing of f16 at 1, and its smallest normal number: adapters may make zeros of smaller ones. */
const [halfEps, halfLeast] = [2 ** -11, 2 ** -14];

/** Numbers as a binding stores them. */
export const given = (name: string, { shape, data }: Tensor, dtype: DType = "f32"): Given => ({ name, dtype, shape, data: dtype === "f16" ? data.map(roundToHalf) : data.map(Math.fround) });

export function launchCase({ launch, given, dtype = "f32", inPlace, define, bound }: LaunchParts): LaunchCase {
  const all = inPlace ? [...given, inPlace] : given;
  const builder = new GraphBuilder("launch");
  const values = new Map(all.map(({ name, shape }) => [name, builder.input(name, shape)]));
  builder.output("y", define(builder, (name) => values.get(name)!));
  const whole = interpret(builder.build(), { inputs: Object.fromEntries(all.map((tensor) => [tensor.name, tensor])), parameters: (name) => assert.unreachable(name) as never }).get("y")!;
  // What is beyond f16 is stored as the largest number that it has.
  const exact = dtype === "f16" ? { ...whole, data: whole.data.map((value) => Math.max(-65504, Math.min(65504, value))) } : whole;
  const inner = bound(exact);
  return {
    candidates: "kernel" in launch ? [single(launch)] : launch,
    ...{ given, dtype, exact },
    before: inPlace,
    // What is as it was has no bound, and no rounding.
    bound: dtype === "f16" ? (i) => (inner(i) === 0 ? 0 : inner(i) * (1 + halfEps) + halfEps * Math.abs(exact.data[i]!) + halfLeast) : inner,
  };
}

interface RunLaunch {
  readonly mutate?: Mutation;
  readonly checkBounds?: boolean;
}

/** The result of one candidate. NaN where no kernel wrote. */
async function runLaunches(device: GPUDevice, candidate: Candidate, of: LaunchCase, options: RunLaunch): Promise<Float32Array> {
  const made: GPUBuffer[] = [];
  device.pushErrorScope("validation");
  const result = await run(device, candidate, of, options, made).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  for (const buffer of made) buffer.destroy();
  const refused = await device.popErrorScope();
  if (refused) throw new Error(refused.message);
  if (result instanceof Error) throw result;
  return result;
}

async function run(device: GPUDevice, { launches }: Candidate, { given, dtype, before, exact }: LaunchCase, { mutate = ({ code }) => code, checkBounds = false }: RunLaunch, made: GPUBuffer[]): Promise<Float32Array> {
  const stored = (data: ArrayLike<number>, as: DType): GPUBuffer => {
    const numbers = Float32Array.from(data);
    const buffer = upload(device, as === "f16" ? toHalves(numbers) : numbers);
    made.push(buffer);
    return buffer;
  };
  const bound = given.map((tensor) => stored(tensor.data, tensor.dtype));
  const result = stored(before?.data ?? new Float64Array(elements(exact.shape)).fill(NaN), dtype);
  const violations = checkBounds ? stored([0, 0], "f32") : undefined;
  for (const launch of launches) await dispatch(device, launch, mutate(launch.kernel), [...bound, result], violations);
  if (violations) await demandNone(device, violations);
  const bytes = await read(device, result);
  return dtype === "f16" ? fromHalves(new Uint16Array(bytes.buffer, 0, elements(exact.shape))) : bytes;
}

async function worstShare(device: GPUDevice, candidate: Candidate, of: LaunchCase, options: RunLaunch): Promise<number> {
  const actual = await runLaunches(device, candidate, of, options);
  return of.exact.data.reduce((most, expected, i) => {
    const error = Math.abs(actual[i]! - expected);
    return error === 0 ? most : Math.max(most, Number.isNaN(error) ? Infinity : error / of.bound(i));
  }, 0);
}

export interface CompareLaunchOptions {
  /** Names of candidates that are left out. Default: none that the device can run. */
  readonly leave?: RegExp;
}

/** Every candidate must be as right as it may be expected to, declare its operands as they are, and touch nothing beyond what it declares. */
export async function compareLaunches(device: GPUDevice, of: LaunchCase, { leave }: CompareLaunchOptions = {}): Promise<void> {
  const bytes = [...of.given, { ...of.exact, dtype: of.dtype }].map(({ shape, dtype }) => elements(shape) * (dtype === "f16" ? 2 : 4));
  const candidates = of.candidates.filter((candidate) => !leave?.test(candidate.name) && runsOn(device, candidate));
  assert.ok(candidates.length > 0, "no candidate is left");
  for (const candidate of candidates) {
    const { name } = candidate;
    // Bindings in the order of the operands, within them and to the last byte of the result.
    for (const { kernel } of candidate.launches) {
      assert.is(kernel.bindings.length, bytes.length, name);
      kernel.bindings.forEach((binding, i) => assert.ok(binding.bytes <= bytes[i]! && (i < bytes.length - 1 || binding.bytes === bytes[i]!), `${name}: ${binding.name} is ${binding.bytes} bytes of ${bytes[i]}`));
    }
    const share = await worstShare(device, candidate, of, { checkBounds: true }).catch((error: unknown) => assert.unreachable(`${name}: ${String(error)}`));
    assert.ok(share! <= 1, `${name}: the error is ${share} times what it may be`);
  }
}

function chosen({ candidates }: LaunchCase, name: string): Candidate {
  const found = candidates.find((candidate) => candidate.name === name);
  return found ?? (assert.unreachable(`there is no candidate ${name}: ${candidates.map((candidate) => candidate.name).join(", ")}`) as never);
}

/** A change to the text of one candidate's kernel that must show. */
export type LaunchMutant = readonly [title: string, of: LaunchCase, choice: string, from: RegExp, to: string];

/** The changed kernel must be found wrong. */
export async function expectLaunchCaught(device: GPUDevice, [, of, choice, from, to]: LaunchMutant): Promise<void> {
  let changed = false;
  const mutate: Mutation = ({ code }) => {
    const text = code.replace(from, to);
    changed ||= text !== code;
    return text;
  };
  const share = await worstShare(device, chosen(of, choice), of, { mutate });
  assert.ok(changed, `no kernel has ${from}`);
  assert.ok(share > 1, `the error is ${share} times what it may be`);
}


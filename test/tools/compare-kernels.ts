/** Kernels on a device against the op's `evaluate` in f64. */
import * as assert from "uvu/assert";
import { interpret } from "../../compiler/ir/interpret.js";
import { requestDevice, type OpenedDevice } from "../../runtime/node.js";
import type { DType } from "../../runtime/plan.js";
import type { Case } from "./kernel-cases.js";
import { choicesOf, runGraph, stepsOf, type Mutation, type RunOptions } from "./run-kernel.js";

/** The software adapter's device, with every feature that kernels make use of. */
export const openKernelDevice = (): Promise<OpenedDevice> => requestDevice({ adapter: "software", optionalFeatures: ["subgroups", "shader-f16"] });

/** What the device can store. */
export const dtypesOf = ({ features }: GPUDevice): readonly DType[] => (features.has("shader-f16") ? ["f32", "f16"] : ["f32"]);

/** The largest error of a kernel as a share of what it may be; Infinity if a number is missing or not finite. */
async function worstShare(device: GPUDevice, { graph, values, dtype, storage, bound }: Case, options: Omit<RunOptions, "dtype" | "storage"> & { readonly choice: string }): Promise<number> {
  const exact = interpret(graph, values).get("y")!;
  const actual = (await runGraph(device, graph, values, { dtype, storage, ...options })).get("y")!;
  if (actual.length !== exact.data.length) return Infinity;
  const allowed = bound(exact, options.choice);
  return exact.data.reduce((most, expected, i) => {
    const error = Math.abs(actual[i]! - expected);
    return error === 0 ? most : Math.max(most, Number.isNaN(error) ? Infinity : error / allowed(i));
  }, 0);
}

/** Names of the candidates for a case that the device can run. */
export const choicesFor = (device: GPUDevice, { graph, dtype, storage }: Case, bindingBytes?: number): readonly string[] => choicesOf(device, graph, { dtype, storage, ...(bindingBytes !== undefined && { bindingBytes }) });

export interface CompareOptions extends Pick<RunOptions, "bindingBytes" | "mutate"> {
  /** Default: all that the device can run. */
  readonly choices?: readonly string[];
  /** How many steps the case must become. */
  readonly steps?: number;
}

/** Every candidate for a case must be as right as it may be expected to, and touch nothing beyond what it declares. */
export async function compareCandidates(device: GPUDevice, kernel: Case, { choices, steps, ...options }: CompareOptions = {}): Promise<void> {
  if (steps !== undefined) assert.is(stepsOf(kernel.graph, { ...kernel, ...options }).filter(({ node }) => node.output === kernel.graph.outputs[0]!.value).length, steps);
  for (const choice of choices ?? choicesFor(device, kernel, options.bindingBytes)) {
    const share = await worstShare(device, kernel, { choice, checkBounds: true, ...options }).catch((error: unknown) => assert.unreachable(`${choice}: ${String(error)}`));
    assert.ok(share! <= 1, `${choice}: the error is ${share} times what it may be`);
  }
}

/** A change to the text of one candidate's kernel that must show. */
export type Mutant = readonly [title: string, of: Case, choice: string, from: RegExp, to: string];

/** The changed kernel must be found wrong. */
export async function expectCaught(device: GPUDevice, [, of, choice, from, to]: Mutant): Promise<void> {
  assert.ok(choicesFor(device, of).includes(choice), `there is no candidate ${choice}: ${choicesFor(device, of)}`);
  let changed = false;
  const mutate: Mutation = ({ code }) => {
    const text = code.replace(from, to);
    changed ||= text !== code;
    return text;
  };
  const share = await worstShare(device, of, { choice, mutate });
  assert.ok(changed, `no kernel has ${from}`);
  assert.ok(share > 1, `the error is ${share} times what it may be`);
}

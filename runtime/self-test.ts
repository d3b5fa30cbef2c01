/** Kernels on this device against what the compiler computed in f64: a driver that computes something else is found before a user sees it. */
import { bufferUsage, createBuffers } from "./buffers.js";
import { adapterKey, chooseRoutines, usableChoices } from "./choose.js";
import { messageOf } from "./device.js";
import { DeviceLostError, VitcError } from "./errors.js";
import { toHalves } from "./half.js";
import type { Engine } from "./load.js";
import type { DType, SelfTest, View } from "./plan.js";
import { packTensor } from "./recipe.js";
import { seededValues } from "./seeded.js";

/** Some GPUs get the first run right and no other. */
const rounds = 3;
/** What an element may be off by, as a share of its size plus the result's root mean square. */
const tolerance: Readonly<Record<DType, number>> = { f32: 1e-4, f16: 2e-2 };

/** A kernel that computes something else than it should. */
export interface SelfTestFailure {
  /** Where in the model: `blocks.0.mlp.fc1`. */
  readonly dispatch: string;
  readonly routine: string;
  /** The way it was done. */
  readonly choice: string;
  /** Which of the runs, from 0. */
  readonly round: number;
  readonly element: number;
  readonly expected: number;
  readonly actual: number;
  /** The way it is done from now on; undefined when every way is wrong. */
  readonly instead: string | undefined;
}

export interface SelfTestReport {
  /** Whether every kernel is right that is used from now on. */
  readonly passed: boolean;
  /** Labels of the dispatches that were tested, one a routine, in the order of a run. */
  readonly tested: readonly string[];
  /** In the order of a run: the first is the first wrong dispatch. */
  readonly failures: readonly SelfTestFailure[];
}

/** Tests one dispatch of each routine as it is done now; where it is wrong, other ways, until one is right. */
export async function selfTest(engine: Engine, tests: readonly SelfTest[], say: (text: string) => void, signal: AbortSignal | undefined): Promise<{ readonly report: SelfTestReport; readonly chosen: Engine["chosen"]; readonly choices: Readonly<Record<string, string>> }> {
  const { session, variant: { plan }, chosen, chooseOptions } = engine;
  const failures: SelfTestFailure[] = [];
  const choices: Record<string, string> = {};
  /** With what was found to be right so far, and one more. */
  const choose = async (more: Readonly<Record<string, string>>): Promise<Engine["chosen"]> => {
    // What `Model.choose` was asked for is in what is done now.
    const now = Object.fromEntries([...chosen].filter(([, { by }]) => by === "tuned").map(([id, { choice }]) => [id, choice.name]));
    const next = chooseRoutines(plan, { ...chooseOptions, tuned: [{ adapter: adapterKey(engine.opened.adapter), choices: { ...now, ...choices, ...more } }, ...(chooseOptions.tuned ?? [])] });
    await session.choose(next);
    return next;
  };
  const { dispatches } = plan.programs.infer[0]!;
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  for (const test of tests) {
    signal?.throwIfAborted();
    const { label } = dispatches[test.dispatch]!;
    const routine = plan.routines.find(({ id }) => id === test.routine)!;
    const first = chosen.get(test.routine)!.choice.name;
    const buffers = await operandsOf(engine, test);
    try {
      let wrong: Omit<SelfTestFailure, "dispatch" | "routine" | "choice" | "instead"> | undefined = await tryChoice(engine, test, buffers);
      if (wrong === undefined) continue;
      const found = wrong;
      let instead: string | undefined;
      for (const { name } of usableChoices(routine, kernels, chooseOptions)) {
        if (name === first) continue;
        try {
          await choose({ [test.routine]: name });
          wrong = await tryChoice(engine, test, buffers);
        } catch (error) {
          if (error instanceof DeviceLostError) throw error;
          say(`${label} cannot be done by ${name} either: ${messageOf(error)}`);
          continue;
        }
        if (wrong === undefined) {
          instead = name;
          choices[test.routine] = name;
          break;
        }
      }
      failures.push({ dispatch: label, routine: test.routine, choice: first, ...found, instead });
      say(`${label} by ${first} computes ${found.actual} where ${found.expected} is right (element ${found.element}, run ${found.round + 1}); ${instead === undefined ? "no other way is right on this device" : `${instead} is used instead`}`);
    } finally {
      for (const { buffer } of buffers) buffer.destroy();
    }
  }
  const final = failures.length === 0 ? chosen : await choose({});
  return { chosen: final, report: { passed: failures.every(({ instead }) => instead !== undefined), tested: tests.map(({ dispatch }) => dispatches[dispatch]!.label), failures }, choices };
}

interface TestBuffer {
  readonly buffer: GPUBuffer;
  readonly data: ArrayBufferView<ArrayBuffer> | undefined;
}

/** A buffer for each view of the dispatch, the same for equal views. */
async function operandsOf({ variant: { plan, recipe }, opened: { device } }: Engine, { dispatch, operands }: SelfTest): Promise<readonly TestBuffer[]> {
  const { views } = plan.programs.infer[0]!.dispatches[dispatch]!;
  const usage = bufferUsage.storage | bufferUsage.copyDestination | bufferUsage.copySource;
  const places = new Map<string, number>();
  const unique = views.filter((view) => {
    const key = JSON.stringify(view);
    if (places.has(key)) return false;
    return places.set(key, places.size);
  });
  const made = await createBuffers(device, unique.map(([label, , bytes]) => ({ label: `self-test of ${label}`, bytes, usage })));
  return Promise.all(
    views.map(async (view, i): Promise<TestBuffer> => {
      const operand = operands[i]!;
      const buffer = made[places.get(JSON.stringify(view))!]!;
      if (operand.kind === "weight") return { buffer, data: await packedAt(recipe, view) };
      if (operand.kind === "scratch") return { buffer, data: undefined };
      // What no kernel writes is not taken for a result.
      const values = operand.seed === undefined ? new Float32Array(operand.size).fill(NaN) : seededValues(operand.seed, [operand.size], "activation");
      return { buffer, data: operand.dtype === "f16" ? wholeWords(toHalves(values)) : values };
    }),
  );
}

async function packedAt({ tensors }: Engine["variant"]["recipe"], [name, offset]: View): Promise<ArrayBufferView<ArrayBuffer>> {
  const tensor = tensors.find((packed) => `weights.${packed.buffer}` === name && packed.offset === offset);
  if (tensor === undefined) throw new VitcError("validation", `no weight lies at ${offset} of ${name}`);
  const packed = await packTensor(tensor, (source) => Promise.resolve(seededValues(source.names[0]!, source.shape, "parameter")));
  return packed instanceof Uint16Array ? wholeWords(packed) : packed;
}

/** Writes are of whole words. */
function wholeWords(halves: Uint16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  if (halves.length % 2 === 0) return halves;
  const padded = new Uint16Array(halves.length + 1);
  padded.set(halves);
  return padded;
}

/** Runs a dispatch three times as it is done now. Returns the first element that is wrong. */
async function tryChoice({ session, opened: { device }, variant: { plan } }: Engine, { dispatch, operands, at, expected, scale }: SelfTest, buffers: readonly TestBuffer[]): Promise<Pick<SelfTestFailure, "round" | "element" | "expected" | "actual"> | undefined> {
  const out = operands.findIndex(({ kind }) => kind === "output");
  const output = operands[out] as Extract<SelfTest["operands"][number], { kind: "output" | "input" }>;
  const [staging] = await createBuffers(device, [{ label: "self-test", bytes: buffers[out]!.buffer.size, usage: bufferUsage.mapRead | bufferUsage.copyDestination }]);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const { buffer, data } of buffers) if (data) device.queue.writeBuffer(buffer, 0, data);
      const values = await session.runDispatch(dispatch, buffers.map(({ buffer }) => buffer), buffers[out]!.buffer, staging!);
      const read = output.dtype === "f16" ? Float32Array.from(new Uint16Array(values), halfValue) : new Float32Array(values);
      for (const [i, element] of at.entries()) {
        const actual = read[element]!;
        if (!(Math.abs(actual - expected[i]!) <= tolerance[plan.dtype] * (Math.abs(expected[i]!) + scale))) return { round, element, expected: expected[i]!, actual };
      }
    }
    return undefined;
  } finally {
    staging!.destroy();
  }
}

/** IEEE 754 binary16. */
function halfValue(word: number): number {
  const [sign, exponent, fraction] = [word & 0x8000 ? -1 : 1, (word >> 10) & 31, word & 1023];
  if (exponent === 31) return NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** Kernels on this device against what the compiler computed in f64: a driver that computes something else is found before a user sees it. */
import { bufferUsage, createBuffers } from "./buffers.js";
import { adapterKey, chooseRoutines, usableChoices, type ChooseOptions } from "./choose.js";
import type { Variant } from "./definition.js";
import { messageOf } from "./device.js";
import { DeviceLostError, SelfTestError, VitcError } from "./errors.js";
import { toHalves } from "./half.js";
import type { Engine } from "./load.js";
import type { DType, SelfTest, View } from "./plan.js";
import { packTensor, place } from "./recipe.js";
import { seededValues } from "./seeded.js";

/** Some GPUs get the first run right and no other. */
const rounds = 3;
/** What an element may be off by, as a share of its size plus the result's root mean square. */
const tolerance: Readonly<Record<DType, number>> = { f32: 1e-4, f16: 2e-2 };

/** A value that is another than it should be. */
export interface SelfTestDifference {
  /** Which of the runs, from 0. */
  readonly round: number;
  readonly element: number;
  readonly expected: number;
  readonly actual: number;
}

/** A kernel that computes something else than it should. */
export interface SelfTestFailure extends SelfTestDifference {
  readonly dtype: DType;
  /** Where in the model: `blocks.0.mlp.fc1`. */
  readonly dispatch: string;
  readonly routine: string;
  /** The way it was done. */
  readonly choice: string;
  /** The way it is done from now on; undefined when every way in this dtype is wrong. */
  readonly instead: string | undefined;
}

export interface SelfTestReport {
  /** Whether all of `tested` is right in the way that is used from now on; kernels of larger batches are not among them. */
  readonly passed: boolean;
  /** How matrices are stored from now on. */
  readonly dtype: DType;
  /** Labels of the dispatches that were tested in it, one a routine, in the order of a run. */
  readonly tested: readonly string[];
  /** By dtype as they were tried, and then in the order of a run: the first is the first wrong dispatch. */
  readonly failures: readonly SelfTestFailure[];
  /** An output of a whole run with these weights, where `vitc pack` left what it should be, and how it differs, if it does. */
  readonly output: { readonly name: string; readonly wrong: SelfTestDifference | undefined } | undefined;
}

type Say = (text: string) => void;
type Signal = AbortSignal | undefined;

/** Tests one dispatch of each routine as it is done now; where it is wrong, other ways, until one is right. Then a whole run, if its output is known. */
export async function selfTest(engine: Engine, tests: readonly SelfTest[], say: Say, signal: Signal): Promise<{ readonly report: SelfTestReport; readonly engine: Engine; readonly choices: Readonly<Record<string, string>> }> {
  const { report, engine: tested, choices } = await testKernels(engine, tests, say, signal);
  return { report: report.passed ? await testOutput(tested, report, say, signal) : report, engine: tested, choices };
}

/**
 * The engine with right kernels, before it has weights.
 * @throws SelfTestError when there are none
 */
export async function testedKernels(engine: Engine, tests: readonly SelfTest[], say: Say, signal: Signal): Promise<Engine> {
  const { report, engine: tested } = await testKernels(engine, tests, () => undefined, signal);
  for (const failure of report.failures) if (report.passed) say(inWords(failure));
  if (!report.passed) throw new SelfTestError(inWords(report.failures.find(({ instead }) => instead === undefined)!), report);
  return { ...tested, report };
}

/**
 * The engine, once it has weights, if a whole run gives what it should.
 * @throws SelfTestError when it does not
 */
export async function testedOutputs(engine: Engine, signal: Signal): Promise<Engine> {
  const report = await testOutput(engine, engine.report!, () => undefined, signal);
  if (!report.passed) throw new SelfTestError(outputInWords(report), report);
  return { ...engine, report };
}

/**
 * Loads a model whose kernels are wrong in the next dtype, which is tested as well.
 * @param report of the dtype that is wrong
 * @returns the engine of the first that is right, and what all tests found
 */
export async function fallBack(report: SelfTestReport, others: readonly Variant[], open: (dtype: DType) => Promise<Engine>, say: Say): Promise<{ readonly report: SelfTestReport; readonly engine?: Engine }> {
  const failures = [...report.failures];
  for (const { plan: { dtype } } of others) {
    try {
      const engine = await open(dtype);
      say(`${report.dtype} computes wrongly on this device; ${dtype} is used`);
      return { engine, report: { ...engine.report!, failures: [...failures, ...engine.report!.failures] } };
    } catch (error) {
      if (!(error instanceof VitcError) || error instanceof DeviceLostError || error.code === "disposed") throw error;
      if (error instanceof SelfTestError) failures.push(...error.report.failures);
      say(`${dtype} cannot be used either: ${error.message}`);
    }
  }
  return { report: { ...report, failures } };
}

function inWords({ dispatch, choice, actual, expected, element, round, instead }: SelfTestFailure): string {
  return `${dispatch} by ${choice} computes ${actual} where ${expected} is right (element ${element}, run ${round + 1}); ${instead === undefined ? "no other way is right on this device" : `${instead} is used instead`}`;
}

function outputInWords({ output }: SelfTestReport): string {
  const { name, wrong } = output!;
  return `every kernel that was tested is right, and a whole run gives ${wrong!.actual} where ${wrong!.expected} is right (${name}, element ${wrong!.element}, run ${wrong!.round + 1})`;
}

async function testKernels(engine: Engine, tests: readonly SelfTest[], say: Say, signal: Signal): Promise<{ readonly report: SelfTestReport; readonly engine: Engine; readonly choices: Readonly<Record<string, string>> }> {
  const { session, variant: { plan }, chosen, chooseOptions } = engine;
  const failures: SelfTestFailure[] = [];
  const choices: Record<string, string> = {};
  const optionsWith = (named: Readonly<Record<string, string>>): ChooseOptions => ({ ...chooseOptions, tuned: [{ adapter: adapterKey(engine.opened.adapter), choices: named }, ...(chooseOptions.tuned ?? [])] });
  /** With what was found to be right so far, and one more. */
  const choose = async (more: Readonly<Record<string, string>>): Promise<Engine["chosen"]> => {
    // What `Model.choose` was asked for is in what is done now.
    const now = Object.fromEntries([...chosen].filter(([, { by }]) => by === "tuned").map(([id, { choice }]) => [id, choice.name]));
    const next = chooseRoutines(plan, optionsWith({ ...now, ...choices, ...more }));
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
      let wrong: SelfTestDifference | undefined = await tryChoice(engine, test, buffers);
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
      const failure: SelfTestFailure = { dtype: plan.dtype, dispatch: label, routine: test.routine, choice: first, ...found, instead };
      failures.push(failure);
      say(inWords(failure));
    } finally {
      for (const { buffer } of buffers) buffer.destroy();
    }
  }
  const tested = failures.length === 0 ? engine : { ...engine, chosen: await choose({}), chooseOptions: optionsWith(choices) };
  const report: SelfTestReport = { passed: failures.every(({ instead }) => instead !== undefined), dtype: plan.dtype, tested: tests.map(({ dispatch }) => dispatches[dispatch]!.label), failures, output: undefined };
  return { engine: tested, report, choices };
}

/** Runs the model on the image that `vitc pack` gave it, if it did, as often as a kernel. */
async function testOutput({ session, variant: { plan }, reference }: Engine, report: SelfTestReport, say: Say, signal: Signal): Promise<SelfTestReport> {
  const output = plan.outputs.findIndex(({ name }) => name === reference?.output);
  if (reference === undefined || output < 0) return report;
  const { batch } = plan.programs.infer[0]!;
  const image = seededValues(reference.seed, [plan.input.shape.reduce((product, size) => product * size, 1)], "activation");
  let wrong: SelfTestDifference | undefined;
  for (let round = 0; round < rounds && wrong === undefined; round++) {
    signal?.throwIfAborted();
    await session.run(batch, image, (i, values) => {
      if (i === output) wrong = difference(values, reference, tolerance[plan.dtype], round);
    });
  }
  const whole: SelfTestReport = { ...report, passed: wrong === undefined, output: { name: reference.output, wrong } };
  if (wrong !== undefined) say(outputInWords(whole));
  return whole;
}

/** The first element that is off by more than its size and the result's mean allow. */
function difference(read: Float32Array, { at, expected, scale }: Pick<SelfTest, "at" | "expected" | "scale">, share: number, round: number): SelfTestDifference | undefined {
  const i = at.findIndex((element, n) => !(Math.abs(read[element]! - expected[n]!) <= share * (Math.abs(expected[n]!) + scale)));
  return i < 0 ? undefined : { round, element: at[i]!, expected: expected[i]!, actual: read[at[i]!]! };
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

async function packedAt({ tensors }: Engine["variant"]["recipe"], [name, offset, bytes]: View): Promise<ArrayBufferView<ArrayBuffer>> {
  const parts = tensors.filter((packed) => `weights.${packed.buffer}` === name && packed.offset >= offset && packed.offset < offset + bytes);
  if (parts.length === 0) throw new VitcError("validation", `no weight lies at ${offset} of ${name}`);
  const memory = new ArrayBuffer(bytes);
  for (const part of parts) {
    const packed = await packTensor(part, (source) => Promise.resolve(seededValues(source.names[0]!, source.shape, "parameter")));
    const whole = packed instanceof Uint16Array ? new Uint16Array(memory) : new Float32Array(memory);
    await place(part, packed, 0, (_buffer, at, rows) => whole.set(rows, (at - offset) / rows.BYTES_PER_ELEMENT));
  }
  return new Uint8Array(memory);
}

/** Writes are of whole words. */
function wholeWords(halves: Uint16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  if (halves.length % 2 === 0) return halves;
  const padded = new Uint16Array(halves.length + 1);
  padded.set(halves);
  return padded;
}

/** Runs a dispatch three times as it is done now. Returns the first element that is wrong. */
async function tryChoice({ session, opened: { device }, variant: { plan } }: Engine, test: SelfTest, buffers: readonly TestBuffer[]): Promise<SelfTestDifference | undefined> {
  const { dispatch, operands } = test;
  const out = operands.findIndex(({ kind }) => kind === "output");
  const output = operands[out] as Extract<SelfTest["operands"][number], { kind: "output" | "input" }>;
  const [staging] = await createBuffers(device, [{ label: "self-test", bytes: buffers[out]!.buffer.size, usage: bufferUsage.mapRead | bufferUsage.copyDestination }]);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const { buffer, data } of buffers) if (data) device.queue.writeBuffer(buffer, 0, data);
      const values = await session.runDispatch(dispatch, buffers.map(({ buffer }) => buffer), buffers[out]!.buffer, staging!);
      const read = output.dtype === "f16" ? Float32Array.from(new Uint16Array(values), halfValue) : new Float32Array(values);
      const wrong = difference(read, test, tolerance[plan.dtype], round);
      if (wrong) return wrong;
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

/** Kernels on this device against what the compiler computed in f64: a driver that computes something else is found before a user sees it. */
import { bufferUsage, createBuffers } from "./buffers.js";
import { adapterKey, chooseRoutines, usableChoices, type ChooseOptions } from "./choose.js";
import type { ModelDefinition, Variant } from "./definition.js";
import { DeviceLostError, SelfTestError, VitcError } from "./errors.js";
import { halfValue, toHalves } from "./half.js";
import type { Engine } from "./load.js";
import type { Choice, DType, Plan, SelfTest, View } from "./plan.js";
import { packTensor } from "./recipe.js";
import { seededValues } from "./seeded.js";
import { preparedTwice } from "./self-test-images.js";
import { elements } from "./tensor.js";

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
  /** Where in the model: `blocks.0.mlp.fc1`; of a batch that is not the smallest `blocks.0.mlp.fc1 of 10 images`. */
  readonly dispatch: string;
  readonly routine: string;
  /** The way it was done. */
  readonly choice: string;
  /** The way it is done from now on; undefined when every way in this dtype is wrong. */
  readonly instead: string | undefined;
}

export interface SelfTestReport {
  /** Whether all of `tested`, and `output`, are right in the way that is used from now on. */
  readonly passed: boolean;
  /** How matrices are stored from now on. */
  readonly dtype: DType;
  /** The dispatches that were tested in it, one a routine, in the order of a run, those of the smallest batch first; named as in `failures`. */
  readonly tested: readonly string[];
  /** What was not: dispatches whose results take too long to compute in f64, and whatever else could not be tested, with the reason. */
  readonly untested: readonly string[];
  /** By dtype as they were tried, and then in the order of `tested`: the first is the first wrong dispatch. */
  readonly failures: readonly SelfTestFailure[];
  /** How an image that the device prepared differs from what the CPU makes of it, if it does; from then on such images are refused. Undefined where that was not tested. */
  readonly images: { readonly wrong: SelfTestDifference | undefined } | undefined;
  /**
   * An output of a whole run in every batch size with these weights, where `vitc pack` left what it should be, and how it differs, if it does;
   * `element` is one of that image's.
   */
  readonly output: { readonly name: string; readonly wrong: (SelfTestDifference & { readonly batch: number; readonly image: number }) | undefined } | undefined;
}

/** What an engine is tested by. */
export interface SelfTests {
  readonly tests: readonly SelfTest[];
  /** The kernels that prepare images, if the package has them. */
  readonly images: ModelDefinition["images"];
}

/** An engine that was tested. */
export type Tested = Engine & { readonly report: SelfTestReport };

type Say = (text: string) => void;
type Signal = AbortSignal | undefined;

/** Tests one dispatch of each routine as it is done now; where it is wrong, other ways, until one is right. Then what prepares images, and whole runs, if their output is known. */
export async function selfTest(engine: Engine, tests: SelfTests, say: Say, signal: Signal): Promise<Tested> {
  try {
    const tested = await testKernels(engine, tests, say, signal);
    return tested.report.passed ? await testOutput(tested, say, signal) : tested;
  } catch (error) {
    // An engine that is not tested to the end does all as it did.
    await engine.session.choose(engine.chosen).catch(() => undefined);
    throw error;
  }
}

/**
 * The engine with right kernels, before it has weights.
 * @throws SelfTestError when there are none
 */
export const testedKernels = (engine: Engine, tests: SelfTests, say: Say, signal: Signal): Promise<Tested> => sound(say, (own) => testKernels(engine, tests, own, signal));

/**
 * The engine, once it has weights, if whole runs give what they should.
 * @throws SelfTestError when they do not
 */
export const testedOutputs = (engine: Tested, say: Say, signal: Signal): Promise<Tested> => sound(say, (own) => testOutput(engine, own, signal));

/** Says what a test says if it passes; if it does not, that is what it throws. */
async function sound(say: Say, test: (say: Say) => Promise<Tested>): Promise<Tested> {
  const said: string[] = [];
  const tested = await test((text) => said.push(text));
  const { report } = tested;
  const failure = report.failures.find(({ instead }) => instead === undefined);
  if (!report.passed) throw new SelfTestError(failure ? inWords(failure) : outputInWords(report), report);
  said.forEach(say);
  return tested;
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
      if (!isPartial(error)) throw error;
      if (error instanceof SelfTestError) failures.push(...error.report.failures);
      say(`${dtype} cannot be used either: ${error.message}`);
    }
  }
  return { report: { ...report, failures } };
}

/** Why one thing cannot be tested, so that others are: not when the device or the model is gone, or the test was broken off. */
const isPartial = (error: unknown): error is VitcError => error instanceof VitcError && !(error instanceof DeviceLostError) && error.code !== "disposed";

function inWords({ dispatch, choice, actual, expected, element, round, instead }: SelfTestFailure): string {
  return `${dispatch} by ${choice} computes ${actual} where ${expected} is right (element ${element}, run ${round + 1}); ${instead === undefined ? "no other way is right on this device" : `${instead} is used instead`}`;
}

function outputInWords({ output }: SelfTestReport): string {
  const { name, wrong } = output!;
  const { actual, expected, element, round, batch, image } = wrong!;
  return `every kernel that was tested is right, and a whole run gives ${actual} where ${expected} is right (${name}, ${batch === 1 ? "" : `image ${image + 1} of ${batch}, `}element ${element}, run ${round + 1})`;
}

/** A dispatch, and where that is not the smallest the batch. */
function nameOf({ programs: { infer } }: Plan, { profile = 0, dispatch }: Pick<SelfTest, "profile" | "dispatch">): string {
  const { batch, dispatches } = infer[profile]!;
  return dispatches[dispatch]!.label + (profile === 0 ? "" : ` of ${batch} images`);
}

async function testKernels(engine: Engine, { tests, images }: SelfTests, say: Say, signal: Signal): Promise<Tested> {
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
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  const testOne = async (test: SelfTest): Promise<void> => {
    const dispatch = nameOf(plan, test);
    const routine = plan.routines.find(({ id }) => id === test.routine)!;
    const { choice: first } = chosen.get(test.routine)!;
    const buffers = await operandsOf(engine, test);
    try {
      let wrong = await tryChoice(engine, first, test, buffers);
      if (wrong === undefined) return;
      const found = wrong;
      let instead: string | undefined;
      for (const choice of usableChoices(routine, kernels, chooseOptions)) {
        const { name } = choice;
        if (name === first.name) continue;
        signal?.throwIfAborted();
        try {
          await choose({ [test.routine]: name });
          wrong = await tryChoice(engine, choice, test, buffers);
        } catch (error) {
          if (!isPartial(error)) throw error;
          say(`${dispatch} cannot be done by ${name} either: ${error.message}`);
          continue;
        }
        if (wrong === undefined) {
          instead = name;
          choices[test.routine] = name;
          break;
        }
      }
      const failure: SelfTestFailure = { dtype: plan.dtype, dispatch, routine: test.routine, choice: first.name, ...found, instead };
      failures.push(failure);
      say(inWords(failure));
    } finally {
      for (const { buffer } of buffers) buffer.destroy();
    }
  };
  for (const test of tests) {
    signal?.throwIfAborted();
    await testOne(test);
  }
  const passed = failures.every(({ instead }) => instead !== undefined);
  const routines = new Set(tests.map(({ routine }) => routine));
  const untested: string[] = [];
  plan.programs.infer.forEach(({ dispatches }, profile) => dispatches.forEach(({ routine }, dispatch) => {
    if (!routines.has(routine)) untested.push(nameOf(plan, { profile, dispatch }));
    routines.add(routine);
  }));
  const report: SelfTestReport = { passed, dtype: plan.dtype, tested: tests.map((test) => nameOf(plan, test)), untested, failures, images: undefined, output: undefined };
  const tested = { ...engine, report, ...(failures.length > 0 && { chosen: await choose({}), chooseOptions: optionsWith(choices), found: { ...engine.found, ...choices } }) };
  return passed && images ? testPreparing(tested, images, say, signal) : tested;
}

/** Compares what prepares images with the CPU. A model can do without it. */
async function testPreparing(engine: Tested, images: NonNullable<SelfTests["images"]>, say: Say, signal: Signal): Promise<Tested> {
  const { report } = engine;
  signal?.throwIfAborted();
  try {
    let wrong: SelfTestDifference | undefined;
    for (let round = 0; round < rounds && wrong === undefined; round++) {
      // Another picture each time: what no kernel writes is not taken for a result.
      const { actual, expected } = await preparedTwice(engine, images, `image ${round}`);
      wrong = difference(actual, { at: [...expected.keys()], expected, scale: 1 }, tolerance.f32, round);
    }
    if (wrong) say(`images that this device prepares have ${wrong.actual} where ${wrong.expected} is right: frames, canvases and textures are refused`);
    return { ...engine, report: { ...report, images: { wrong } } };
  } catch (error) {
    if (!isPartial(error)) throw error;
    return leave(engine, `the preparation of images (${error.message})`, say);
  }
}

/** Says what is not tested. */
function leave(engine: Tested, what: string, say: Say): Tested {
  say(`not tested: ${what}`);
  return { ...engine, report: { ...engine.report, untested: [...engine.report.untested, what] } };
}

/** Runs the model on images that are all the one for which `vitc pack` said what comes out, if it did, in every batch size, as often as a kernel. */
async function testOutput(engine: Tested, say: Say, signal: Signal): Promise<Tested> {
  const { session, variant: { plan }, reference, report } = engine;
  if (reference === undefined) return engine;
  const output = plan.outputs.findIndex(({ name }) => name === reference.output);
  const width = elements(plan.outputs[output]?.shape ?? [0]);
  if (reference.model !== plan.model || !reference.at.every((element) => element < width)) {
    const why = "the packed weights tell those of another model, or were edited or packed by an earlier vitc: pack them for this package";
    return leave(engine, `whole runs (${why})`, say);
  }
  const image = seededValues(reference.seed, [elements(plan.input.shape)], "activation");
  let wrong: NonNullable<SelfTestReport["output"]>["wrong"];
  for (const { batch } of plan.programs.infer) {
    const input = new Float32Array(batch * image.length);
    for (let i = 0; i < batch; i++) input.set(image, i * image.length);
    for (let round = 0; round < rounds && wrong === undefined; round++) {
      signal?.throwIfAborted();
      await session.run(batch, input, (i, values) => {
        for (let at = 0; i === output && at < batch && wrong === undefined; at++) {
          const differs = difference(values.subarray(at * width, (at + 1) * width), reference, tolerance[plan.dtype], round);
          wrong = differs && { ...differs, batch, image: at };
        }
      });
    }
  }
  const whole: SelfTestReport = { ...report, passed: wrong === undefined, output: { name: reference.output, wrong } };
  if (wrong !== undefined) say(outputInWords(whole));
  return { ...engine, report: whole };
}

/** The first element that is off by more than its size and the result's mean allow. */
function difference(read: Float32Array, { at, expected, scale }: { readonly at: readonly number[]; readonly expected: ArrayLike<number>; readonly scale: number }, share: number, round: number): SelfTestDifference | undefined {
  const i = at.findIndex((element, n) => !(Math.abs(read[element]! - expected[n]!) <= share * (Math.abs(expected[n]!) + scale)));
  return i < 0 ? undefined : { round, element: at[i]!, expected: expected[i]!, actual: read[at[i]!]! };
}

interface TestBuffer {
  readonly buffer: GPUBuffer;
  readonly data: ArrayBufferView<ArrayBuffer> | undefined;
}

/** A buffer for each view of the dispatch, the same for equal views. */
async function operandsOf({ variant: { plan, recipe }, opened: { device } }: Engine, { profile = 0, dispatch, operands }: SelfTest): Promise<readonly TestBuffer[]> {
  const { views } = plan.programs.infer[profile]!.dispatches[dispatch]!;
  const usage = bufferUsage.storage | bufferUsage.copyDestination | bufferUsage.copySource;
  const keys = views.map((view) => view.join());
  const made = await createBuffers(device, views.map(([label, , bytes]) => ({ label: `self-test of ${label}`, bytes, usage })).filter((_, i) => keys.indexOf(keys[i]!) === i));
  const unique = [...new Set(keys)];
  return Promise.all(
    views.map(async (view, i): Promise<TestBuffer> => {
      const operand = operands[i]!;
      const buffer = made[unique.indexOf(keys[i]!)]!;
      if (operand.kind === "weight") return { buffer, data: await packedAt(recipe, view) };
      if (operand.kind === "scratch") return { buffer, data: undefined };
      // What no kernel writes is not taken for a result.
      const values = operand.seed === undefined ? new Float32Array(operand.size).fill(NaN) : seededValues(operand.seed, [operand.size], "activation");
      return { buffer, data: operand.dtype === "f16" ? wholeWords(toHalves(values)) : values };
    }),
  );
}

async function packedAt({ tensors }: Engine["variant"]["recipe"], [name, offset]: View): Promise<ArrayBufferView<ArrayBuffer>> {
  // The verifier of plans saw to it that one lies there.
  const tensor = tensors.find((packed) => `weights.${packed.buffer}` === name && packed.offset === offset)!;
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

/** Runs a dispatch three times in a way whose kernels are built. Returns the first element that is wrong. */
async function tryChoice({ session, opened: { device }, variant: { plan } }: Engine, { launches }: Choice, test: SelfTest, buffers: readonly TestBuffer[]): Promise<SelfTestDifference | undefined> {
  const { operands } = test;
  const out = operands.findIndex(({ kind }) => kind === "output");
  const output = operands[out] as Extract<SelfTest["operands"][number], { kind: "output" | "input" }>;
  const [staging] = await createBuffers(device, [{ label: "self-test", bytes: buffers[out]!.buffer.size, usage: bufferUsage.mapRead | bufferUsage.copyDestination }]);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const { buffer, data } of buffers) if (data) device.queue.writeBuffer(buffer, 0, data);
      const values = await session.runDispatch(launches, buffers.map(({ buffer }) => buffer), buffers[out]!.buffer, staging!);
      const read = output.dtype === "f16" ? Float32Array.from(new Uint16Array(values), halfValue) : new Float32Array(values);
      const wrong = difference(read, test, tolerance[plan.dtype], round);
      if (wrong) return wrong;
    }
    return undefined;
  } finally {
    staging!.destroy();
  }
}

/** Models in f16 against PyTorch's f64, and which dtype a package of several takes on which adapter. */
import { join } from "node:path";
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { adapterName } from "../../runtime/device.js";
import { AdapterError, VitcError } from "../../runtime/errors.js";
import { abi, Model, type LoadOptions, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { DType } from "../../runtime/plan.js";
import cifar10 from "../../specs/vit-cifar10.js";
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf, openKernelDevice } from "../tools/compare-kernels.js";
import { bestOf, fixturePath, noteFixture, noteNames, readTensors, reference, relativeL2 } from "../tools/fixtures.js";
import { f32, importPackage, temporaryFolder, writeCompiled, type AnyOutputs, type PackageModule } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

/** The relative L2 error that f16 may have. */
const tolerance = 5e-3;
/** Two classes whose reference logits are closer than this may change places. */
const leastMargin = 0.01;

/** Another text of some kernels. */
type Change = (code: string, id: string) => string;

/** A spec as a package in f16 runs it. */
function definition(spec: ViTSpec, change: Change = (code) => code): ModelDefinition {
  const { plan, kernels, recipe } = makePlan(resolve(spec), { dtype: "f16" });
  const texts = Object.fromEntries(kernels.map(({ id, code }) => [id, change(code, id)]));
  // Not what vitc tune left on this machine.
  const untuned = { ...platform, tuned: () => Promise.resolve([]) };
  return { abi, variants: [{ plan, kernels: texts, recipe }], command: "", platform: () => Promise.resolve(untuned) };
}

/** A row of logits whose largest is in another place. */
interface Changed {
  readonly row: number;
  readonly from: number;
  readonly to: number;
  /** How far the two largest of the reference are apart. */
  readonly margin: number;
}

function changedClasses(actual: ArrayLike<number>, expected: ArrayLike<number>, classes: number): readonly Changed[] {
  return Array.from({ length: expected.length / classes }, (_, row): Changed => {
    const [first, second] = Array.from({ length: classes }, (_value, i) => expected[row * classes + i]!).sort((a, b) => b - a);
    return { row, from: bestOf(expected, row, classes), to: bestOf(actual, row, classes), margin: first! - second! };
  }).filter(({ from, to }) => from !== to);
}

const photographs = readTensors(fixturePath("vit-cifar10/io.safetensors"));
const photographLogits = photographs.get("logits")!.data;

async function photographsLogits(change?: Change): Promise<Float32Array> {
  using model = await Model.load<AnyOutputs>(definition(cifar10, change), { weights: fixturePath("vit-cifar10/model.safetensors"), adapter: "software", onNotice: () => {} });
  assert.is(model.dtype, "f16");
  return (await model.run(f32(photographs.get("input")!.data))).logits!;
}

/** The relative L2 error of every output and tap of a fixture, by name. */
async function noteErrors(name: string, weights = noteFixture(name).weightsPath): Promise<ReadonlyMap<string, number>> {
  const fixture = noteFixture(name);
  const made = definition(fixture.spec);
  using model = await Model.load<AnyOutputs>(made, { weights, adapter: "software", onNotice: () => {} });
  assert.is(model.dtype, "f16");
  const outputs = await model.run(f32(fixture.io.get("input")!.data));
  assert.equal(Object.keys(outputs), made.variants[0].plan.outputs.map((output) => output.name));
  return new Map(Object.entries(outputs).map(([output, values]) => {
    const expected = reference(fixture, output);
    assert.equal(values.shape, expected.shape, output);
    return [output, relativeL2(values, expected.data)];
  }));
}

const worstOf = (errors: ReadonlyMap<string, number>): readonly [string, number] => [...errors].reduce((a, b) => (b[1] > a[1] ? b : a));

const reason = await softwareReason();
if (reason) {
  skipAll("f16 against PyTorch", reason);
  skipAll("the choice of a dtype", reason);
} else {
  const { device, adapter } = await openKernelDevice();
  const half = dtypesOf(device).includes("f16");
  device.destroy();
  // A device without shader-f16, whatever its adapter has.
  const { device: plain } = await platform.requestDevice({ adapter: "software" });
  if (half) halfSuite();
  else skipAll("f16 against PyTorch", `${adapterName(adapter)} has no shader-f16; npm run test:lavapipe runs it on an adapter that has`);
  dtypeSuite(plain, { half, adapter: adapterName(adapter) });
}

function halfSuite(): void {
  const test = suite("f16 against PyTorch");

  test("vit-cifar10: the logits of 100 photographs, and the class of each that the reference is sure of", async () => {
    const logits = await photographsLogits();
    const error = relativeL2(logits, photographLogits);
    const rows = Array.from({ length: 100 }, (_, i) => relativeL2(logits.subarray(i * 10, (i + 1) * 10), photographLogits.subarray(i * 10, (i + 1) * 10)));
    const worst = rows.indexOf(Math.max(...rows));
    console.log(`vit-cifar10 in f16: relative L2 error ${error.toExponential(2)} of all logits, ${rows[worst]!.toExponential(2)} of the worst photograph (${worst})`);
    const changed = changedClasses(logits, photographLogits, 10);
    for (const { row, from, to, margin } of changed) console.log(`photograph ${row}: ${cifar10.labels![to]} instead of ${cifar10.labels![from]}, whose margin is ${margin.toExponential(2)}`);
    console.log(`${changed.length} of 100 classes changed`);
    assert.ok(error < tolerance, String(error));
    assert.equal(changed.filter(({ margin }) => margin >= leastMargin), []);
  });

  test("a class that changes is seen, with its margin", () => {
    const expected = [1, 5, 4.995, 0, 3, 1, 2, 0];
    assert.equal(changedClasses([1, 5, 4.9, 0, 3, 1, 2, 0], expected, 4), []);
    const [near, sure, ...more] = changedClasses([1, 4.9, 5, 0, 0, 1, 2, 0], expected, 4);
    assert.equal(more, []);
    assert.equal([near!.row, near!.from, near!.to], [0, 1, 2]);
    assert.ok(near!.margin < leastMargin);
    assert.equal(sure, { row: 1, from: 0, to: 2, margin: 1 });
  });

  for (const name of noteNames) {
    test(`${name}: every output and tap is as near to PyTorch's as f16 allows`, async () => {
      const errors = await noteErrors(name);
      const [output, worst] = worstOf(errors);
      console.log(`${name} in f16: the worst of ${errors.size} outputs is ${output} with a relative L2 error of ${worst.toExponential(2)}`);
      for (const [tap, error] of errors) assert.ok(error < tolerance, `${tap}: ${error}`);
    });
  }

  test("attention maps, tokens and a normalised embedding of vit-cifar10 are as near to the f64 interpreter's", async () => {
    const spec: ViTSpec = { ...cifar10, outputs: ["embedding", "blocks.0", "blocks.*.attn"] };
    const weights = readTensors(fixturePath("vit-cifar10/model.safetensors"));
    const image = { shape: [1, 3, 32, 32], data: Float64Array.from(photographs.get("input")!.data.subarray(0, 3 * 32 * 32)) };
    const exact = interpret(buildGraph(resolve(spec), { batch: 1 }), { inputs: { input: image }, parameters: (name) => weights.get(name)! });
    using model = await Model.load<AnyOutputs>(definition(spec), { weights: fixturePath("vit-cifar10/model.safetensors"), adapter: "software", onNotice: () => {} });
    assert.is(model.dtype, "f16");
    const outputs = await model.run(Float32Array.from(image.data));
    assert.is(Object.keys(outputs).length, 3 + spec.depth);
    for (const [output, values] of Object.entries(outputs)) {
      const error = relativeL2(values, exact.get(output)!.data);
      console.log(`${output} in f16: relative L2 error ${error.toExponential(2)}`);
      assert.ok(error < tolerance, `${output}: ${error}`);
    }
  });

  test("faults in kernels and weights that change little are seen", async () => {
    let changes = 0;
    const withoutLastKey: Change = (code, id) => {
      const text = id.startsWith("attention") ? code.replace(/(\w+) >= tokens/g, "$1 >= tokens - 1u") : code;
      if (text !== code) changes++;
      return text;
    };
    const oneKeyLess = relativeL2(await photographsLogits(withoutLastKey), photographLogits);
    assert.ok(changes > 0);
    console.log(`with 64 keys of 65: ${oneKeyLess.toExponential(2)}`);
    assert.ok(oneKeyLess > tolerance, `64 keys of 65: ${oneKeyLess}`);
    const [output, otherWeights] = worstOf(await noteErrors("base", noteFixture("pool-avg").weightsPath));
    assert.ok(otherWeights > 20 * tolerance, `${output}: ${otherWeights}`);
  });

  test.run();
}

/** The same model as packages for different dtypes. `device` has no shader-f16; its adapter has it if `half`. */
function dtypeSuite(device: GPUDevice, { half, adapter }: { readonly half: boolean; readonly adapter: string }): void {
  const test = suite("the choice of a dtype");
  const folder = temporaryFolder("precision");
  const spec: ViTSpec = { name: "choice", image: 16, patch: 8, dim: 32, depth: 2, heads: 2, classes: 4 };
  const { recipe } = makePlan(resolve(spec));
  const images = f32(Array.from({ length: 3 * 16 * 16 }, (_, i) => Math.sin(i)));

  const packages = new Map<string, Promise<PackageModule>>();
  /** The model compiled for these dtypes, once. */
  const packageOf = (...dtypes: DType[]): Promise<PackageModule> => {
    const path = join(folder, dtypes.join("-"));
    const made = packages.get(path) ?? writeCompiled(path, { ...spec, dtype: dtypes }).then(() => importPackage(path));
    packages.set(path, made);
    return made;
  };
  const halfFirst = (): Promise<PackageModule> => packageOf("f16", "f32");

  /** What a load comes to: the dtype, the logits, and what was said about dtypes. */
  const outcome = async ({ load }: PackageModule, options: Partial<LoadOptions> = {}) => {
    const notices: string[] = [];
    using model = await load({ weights: randomWeights(recipe, 1).source, adapter: "software", onNotice: (notice) => notices.push(notice), ...options });
    const { logits } = await model.run(images);
    return { dtype: model.dtype, logits: [...logits!], notices: notices.filter((notice) => /f16|f32/.test(notice)) };
  };

  const refusal = async (promise: Promise<unknown>): Promise<Error> => {
    const error: unknown = await promise.then(() => undefined, (thrown: unknown) => thrown);
    if (error instanceof Error) return error;
    throw new Error("it should have been refused");
  };

  test(half ? "auto takes f16 where it is first and the adapter has it, and has nothing to say" : "auto takes f32 on an adapter without shader-f16, and says why", async () => {
    for (const options of [{}, { dtype: "auto" } as const]) {
      const { dtype, notices } = await outcome(await halfFirst(), options);
      assert.is(dtype, half ? "f16" : "f32");
      assert.equal(notices, half ? [] : [`${adapter} has no shader-f16, which f16 needs; f32 is used`]);
    }
  });

  test("auto takes f32 on a device that was made without shader-f16, names both, and computes as in f32", async () => {
    const fallen = await outcome(await halfFirst(), { device });
    assert.is(fallen.dtype, "f32");
    assert.is(fallen.notices.length, 1);
    assert.match(fallen.notices[0]!, "shader-f16");
    assert.match(fallen.notices[0]!, adapter);
    assert.match(fallen.notices[0]!, "f32 is used");
    assert.equal(fallen.logits, (await outcome(await packageOf("f32"), { device })).logits);
  });

  test("f16 that was asked for is never replaced: it is refused with the feature, the adapter and what to load instead", async () => {
    const places: Partial<LoadOptions>[] = [{ device }, ...(half ? [] : [{}])];
    for (const place of places) {
      const error = await refusal(outcome(await halfFirst(), { ...place, dtype: "f16" }));
      // By name: a package carries a runtime of its own.
      assert.is(error.name, AdapterError.name);
      for (const part of ["shader-f16", adapter, 'load it with dtype "f32"']) assert.match(error.message, part);
      assert.is((await outcome(await halfFirst(), { ...place, dtype: "f32" })).dtype, "f32", "what the message says works");
    }
  });

  test("f32 is taken without a word where it is asked for or comes first", async () => {
    for (const { dtype, notices } of [await outcome(await halfFirst(), { dtype: "f32" }), await outcome(await packageOf("f32", "f16"))]) {
      assert.is(dtype, "f32");
      assert.equal(notices, []);
    }
  });

  test("a dtype that the package was not compiled for is refused with the command that compiles it", async () => {
    const error = await refusal(outcome(await packageOf("f32"), { dtype: "f16" }));
    assert.is(error.name, VitcError.name);
    assert.match(error.message, 'dtype is "f16"; choice was compiled for f32');
    assert.match(error.message, /compile it for both: .*--dtype f32,f16$/);
  });

  if (half) {
    test("one package computes the same in both dtypes, up to f16's rounding and not beyond it", async () => {
      const [halves, singles] = [await outcome(await halfFirst(), { dtype: "f16" }), await outcome(await halfFirst(), { dtype: "f32" })];
      assert.equal([halves.dtype, singles.dtype], ["f16", "f32"]);
      const error = relativeL2(halves.logits, singles.logits);
      assert.ok(error > 0 && error < tolerance, String(error));
    });
  }

  test.run();
}

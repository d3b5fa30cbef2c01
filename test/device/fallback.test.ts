/** What load does when a device refuses kernels, or weights do not fit a dtype: it takes what works and says so, or fails with the reason. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { DeviceLostError, KernelError, WeightsError } from "../../runtime/errors.js";
import { abi, Model, type ModelDefinition, type Variant } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { noteFixture, reference, worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

const fixture = noteFixture("base");
const images = f32(fixture.io.get("input")!.data);
const expected = reference(fixture, "logits").data;

const { plan, kernels, recipe } = makePlan(resolve(fixture.spec));
const sound: Variant = { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe };

/** A variant with kernels that no driver takes. */
const broken = (refused: (kernel: string) => boolean): Variant => ({ ...sound, kernels: Object.fromEntries(Object.entries(sound.kernels).map(([id, code]) => [id, refused(id) ? `${code}\nthis is not WGSL` : code])) });

const definition = (...variants: readonly [Variant, ...Variant[]]): ModelDefinition => ({ abi, variants, command: "npx vitc compile spec.json", platform: () => Promise.resolve(platform) });

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}

const reason = await softwareReason();
if (reason) skipAll("fallbacks of load", reason);
else {
  const test = suite("fallbacks of load");
  const { device } = await platform.requestDevice({ adapter: "software" });

  /** Loads on a device of ours; what was said comes with it. */
  async function load(made: ModelDefinition, weights: unknown = fixture.weightsPath): Promise<{ model: Model<AnyOutputs>; notices: readonly string[] }> {
    const notices: string[] = [];
    const model = await Model.load<AnyOutputs>(made, { weights: weights as string, device, onNotice: (notice) => notices.push(notice) });
    return { model, notices: notices.filter((notice) => !notice.includes("software adapter")) };
  }

  /** Kernels that load takes here although there are others. */
  async function preferred(): Promise<ReadonlySet<string>> {
    using model = (await load(definition(sound))).model;
    return new Set([...model.routines.values()].filter(({ by }) => by === "cost").flatMap(({ choice }) => choice.launches.map(({ kernel }) => kernel)));
  }

  test("a kernel that the device refuses is done without: another choice does its work, with a notice, and results stay right", async () => {
    const [victim] = [...(await preferred())];
    assert.ok(victim);
    const { model, notices } = await load(definition(broken((id) => id === victim)));
    using _ = model;
    assert.is(notices.length, 1);
    for (const part of [victim, "other kernels"]) assert.match(notices[0]!, part);
    assert.ok([...model.routines.values()].every(({ choice }) => choice.launches.every(({ kernel }) => kernel !== victim)));
    assert.ok(worstError((await model.run(images)).logits!, expected) < 1e-4);
    // What was refused stays refused.
    const [id, name] = plan.routines.flatMap((routine) => routine.choices.filter(({ launches }) => launches.some(({ kernel }) => kernel === victim)).map((choice) => [routine.id, choice.name] as const))[0]!;
    assert.match((await rejection(model.choose({ [id]: name }))).message, `cannot be done by ${name}`);
  });

  test("all that load prefers may be refused, one after the other, down to what runs anywhere", async () => {
    const first = new Set(plan.routines.flatMap(({ choices }) => choices[0]!.launches.map(({ kernel }) => kernel)));
    const { model, notices } = await load(definition(broken((id) => !first.has(id))));
    using _ = model;
    assert.ok(notices.length > 0);
    assert.ok([...model.routines.values()].every(({ choice }, i) => choice.name === plan.routines[i]!.choices[0]!.name));
    assert.ok(worstError((await model.run(images)).logits!, expected) < 1e-4);
  });

  test("a routine with no kernel left fails the load, naming the kernel and what the device said", async () => {
    const only = plan.routines.find(({ choices }) => choices.length === 1)!.choices[0]!.launches[0]!.kernel;
    const error = await rejection(load(definition(broken((id) => id === only))));
    assert.instance(error, KernelError);
    assert.match(error.message, `The device refused kernel ${only}: `);
    assert.match(error.message, /WGSL|expected|parsing/);
  });

  test("the next variant is taken when the device refuses all kernels of one, and the notice says which and why", async () => {
    const { model, notices } = await load(definition(broken(() => true), sound));
    using _ = model;
    assert.match(notices.at(-1)!, /^f32 cannot be used: The device refused \d+ kernels, first \S+: .*; f32 is used$/s);
    assert.ok(worstError((await model.run(images)).logits!, expected) < 1e-4);
    assert.instance(await rejection(load(definition(broken(() => true), broken(() => true)))), KernelError);
  });

  test("variants share one download, which ends with the load", async () => {
    const file = await readFile(fixture.weightsPath);
    let [requests, endless] = [0, false];
    const closed: Promise<unknown>[] = [];
    const server = createServer((_, response) => {
      requests++;
      closed.push(once(response, "close"));
      // A server that ignores Range; if told to, it never comes to the end.
      response.writeHead(200, { "Content-Length": file.length });
      if (endless) response.write(file.subarray(0, file.length - 1000));
      else response.end(file);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;
      const { model } = await load(definition(broken(() => true), sound), url);
      using _ = model;
      assert.ok(worstError((await model.run(images)).logits!, expected) < 1e-4);
      const each = requests;
      endless = true;
      assert.instance(await rejection(load(definition(broken(() => true), broken(() => true)), url)), KernelError);
      assert.is(requests, 2 * each, "no variant downloads it anew");
      const late = setTimeout(() => server.closeAllConnections(), 5000);
      const began = performance.now();
      await Promise.all(closed);
      clearTimeout(late);
      assert.ok(performance.now() - began < 4000, "the download went on after the load had failed");
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test("a weight beyond f16 makes load take the variant that can hold it, with a notice, or fail with the tensor and the fix", async () => {
    // The last bias is stored as it is, so it can be made too large without any other change.
    const halved: Variant = { ...sound, recipe: { tensors: recipe.tensors.map((tensor) => (tensor.name === "norm.bias" ? { ...tensor, dtype: "f16", steps: [{ op: "scale", of: 0, factor: 1e9 }] } : tensor)) } };
    const { model, notices } = await load(definition(halved, sound));
    using _ = model;
    assert.is(notices.length, 1);
    assert.match(notices[0]!, /cannot be used: weights: "norm\.bias" becomes too large at .* packed as f16.*; f32 is used$/);
    assert.ok(worstError((await model.run(images)).logits!, expected) < 1e-4);

    const error = await rejection(load(definition(halved)));
    assert.instance(error, WeightsError);
    assert.equal((error as WeightsError).problems.map(({ kind, tensor }) => [kind, tensor]), [["range", "norm.bias"]]);
    assert.match(error.message, "f32 can hold it");
  });

  test("limits are those of the variants that the adapter can run: one that needs more is passed over, with a notice, on any device", async () => {
    const limited = (maxBufferSize: number): Variant => ({ ...sound, plan: { ...plan, limits: { maxBufferSize } } });
    const { maxBufferSize } = device.limits;
    const notices: string[] = [];
    const own = (...variants: readonly [Variant, ...Variant[]]): Promise<Model<AnyOutputs>> => Model.load<AnyOutputs>(definition(...variants), { weights: fixture.weightsPath, adapter: "software", onNotice: (notice) => notices.push(notice) });
    {
      using first = await own(limited(maxBufferSize), limited(2 ** 50));
      assert.ok(worstError((await first.run(images)).logits!, expected) < 1e-4);
      using second = await own(limited(2 ** 50), limited(maxBufferSize));
      assert.ok(worstError((await second.run(images)).logits!, expected) < 1e-4);
      assert.match(notices.filter((notice) => !notice.includes("software adapter")).join(), /has no maxBufferSize of 1125899906842624, which f32 needs; f32 is used/);
    }
    const { model, notices: said } = await load(definition(limited(2 ** 50), sound));
    using _ = model;
    assert.match(said[0]!, /^your device on .* was made without maxBufferSize of 1125899906842624, which f32 needs; f32 is used$/);
    assert.match((await rejection(load(definition(limited(2 ** 50))))).message, /needs maxBufferSize of 1125899906842624, your device was made with \d+: adapter\.requestDevice/);
    assert.match((await rejection(own(limited(2 ** 50), limited(2 ** 51)))).message, /maxBufferSize of 1125899906842624 is wanted, and .* has \d+/);
  });

  test("a weight that no dtype can hold, or a lost device, is no reason to try the next variant", async () => {
    const endless: Variant = { ...sound, recipe: { tensors: recipe.tensors.map((tensor) => (tensor.name === "norm.bias" ? { ...tensor, dtype: "f16", steps: [{ op: "scale", of: 0, factor: 1e300 }] } : tensor)) } };
    const error = await rejection(load(definition(endless, sound)));
    assert.instance(error, WeightsError);
    assert.match(error.message, "damaged");

    const { device: mortal } = await platform.requestDevice({ adapter: "software" });
    const notices: string[] = [];
    const pending = rejection(Model.load(definition(sound, sound), { weights: fixture.weightsPath, device: mortal, onNotice: (notice) => notices.push(notice), onProgress: ({ stage, loaded }) => stage === "pipelines" && loaded === 1 && mortal.destroy() }));
    const lost = await pending;
    assert.instance(lost, DeviceLostError);
    assert.not.ok(notices.some((notice) => notice.includes("is used")));
  });

  test.run();
}

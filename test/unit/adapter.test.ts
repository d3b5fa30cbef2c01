import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as assert from "uvu/assert";
import { describeAdapter, openDevice, requestBrowserDevice } from "../../runtime/device.js";
import { AdapterError, WeightsError } from "../../runtime/errors.js";
import * as node from "../../runtime/node.js";
import * as web from "../../runtime/web.js";
import { suite } from "../tools/suite.js";

const test = suite("adapters and files");

/** The error that a promise rejects with. */
async function errorOf(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("it should have been refused");
}

test("tells software adapters and the null backend from GPUs", () => {
  const gpu = describeAdapter({ vendor: "nvidia", architecture: "hopper", device: "", description: "NVIDIA H100", isFallbackAdapter: false });
  assert.equal(gpu, { vendor: "nvidia", architecture: "hopper", device: "", description: "NVIDIA H100", software: false, null: false });
  const software = [
    { architecture: "swiftshader" },
    { description: "llvmpipe (LLVM 19.1.7, 256 bits)" },
    { description: "Microsoft Basic Render Driver" },
    { description: "an unknown driver", isFallbackAdapter: true },
  ];
  for (const info of software) {
    const described = describeAdapter(info);
    assert.is(described.software, true, JSON.stringify(info));
    assert.match(described.notice ?? "", "software adapter");
  }
  const nothing = describeAdapter({ device: "null-backend" });
  assert.is(nothing.null, true);
  assert.is(nothing.software, false);
  assert.match(nothing.notice ?? "", "executes nothing");
});

test("of alternative needs those that the adapter meets are asked for, and no others", async () => {
  const asked: GPUDeviceDescriptor[] = [];
  const adapter = (features: readonly string[]): GPUAdapter => ({ info: { description: "Test GPU" }, features: new Set(features), limits: { maxBufferSize: 1000, maxStorageBufferBindingSize: 500 }, requestDevice: async (descriptor: GPUDeviceDescriptor) => (asked.push(descriptor), {}) }) as unknown as GPUAdapter;
  const half = { features: ["shader-f16"], limits: { maxBufferSize: 800 } };
  const single = { features: [], limits: { maxBufferSize: 1600 } };
  const small = { features: [], limits: { maxStorageBufferBindingSize: 400, maxBufferSize: 600 } };
  await openDevice(adapter(["shader-f16"]), { alternatives: [half, single], optionalFeatures: ["shader-f16"] });
  assert.equal(asked.at(-1), { label: "vitc", requiredLimits: { maxBufferSize: 800 }, requiredFeatures: ["shader-f16"] });
  await openDevice(adapter(["shader-f16"]), { alternatives: [half, single, small] });
  assert.equal(asked.at(-1)?.requiredLimits, { maxBufferSize: 800, maxStorageBufferBindingSize: 400 });
  await openDevice(adapter([]), { alternatives: [half, small], requiredLimits: { maxBufferSize: 700 } });
  assert.equal(asked.at(-1)?.requiredLimits, { maxBufferSize: 700, maxStorageBufferBindingSize: 400 });
  assert.match((await errorOf(openDevice(adapter([]), { alternatives: [half, single] }))).message, /^maxBufferSize of 1600 is wanted, and Test GPU has 1000$/);
  // A feature that is missing is named where it is needed.
  await openDevice(adapter([]), { alternatives: [half] });
});

test("both doors export the same names", () => {
  assert.equal(Object.keys(node).toSorted(), Object.keys(web).toSorted());
});

test("a page without WebGPU, or without an adapter, is told what to do", async () => {
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const pretend = (navigator: object): void => void Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  try {
    pretend({});
    assert.match((await errorOf(requestBrowserDevice())).message, "Chrome");
    pretend({ gpu: { requestAdapter: async () => null } });
    assert.match((await errorOf(requestBrowserDevice())).message, "found no adapter");
    pretend({ gpu: { requestAdapter: async () => ({ info: { architecture: "swiftshader" } }) } });
    assert.match((await errorOf(requestBrowserDevice({ adapter: "gpu" }))).message, "software adapter (swiftshader)");
  } finally {
    if (descriptor === undefined) Reflect.deleteProperty(globalThis, "navigator");
    else Object.defineProperty(globalThis, "navigator", descriptor);
  }
  const flags = await errorOf(requestBrowserDevice({ flags: ["enable-dawn-features=dump_shaders"] }));
  assert.instance(flags, AdapterError);
  assert.match(flags.message, "dump_shaders");
});

test("a file is read by ranges, whole and aborted", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vitc-path-"));
  try {
    const file = join(folder, "weights.bin");
    writeFileSync(file, Uint8Array.from({ length: 100 }, (_, index) => index));
    for (const source of [await node.fromPath(file), await node.fromPath(pathToFileURL(file))]) {
      assert.is(source.size, 100);
      assert.equal([...(await source.read(97, 3))], [97, 98, 99]);
      assert.is((await source.read(100, 0)).length, 0);
    }
    const source = await node.fromPath(file);
    for (const [offset, length] of [[98, 3], [-1, 1], [0, 2 ** 52], [Number.NaN, 1]] as const) {
      assert.instance(await errorOf(source.read(offset, length)), WeightsError, `${offset}, ${length}`);
    }
    assert.is((await errorOf(source.read(0, 1, AbortSignal.abort()))).name, "AbortError");
    writeFileSync(file, "short");
    assert.match((await errorOf(source.read(0, 100))).message, "it ends after 5 bytes");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a path that is not a readable file is refused with the reason", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vitc-path-"));
  try {
    const locked = join(folder, "locked");
    writeFileSync(locked, "x");
    chmodSync(locked, 0);
    const cases: [string | URL, RegExp][] = [
      [join(folder, "absent.safetensors"), /no such file/],
      [folder, /this is a folder/],
      [new URL("https://example.org/model.safetensors"), /fromUrl/],
    ];
    // Root may read anything, and Windows has no such mode.
    if (process.getuid !== undefined && process.getuid() !== 0) cases.push([locked, /permission/]);
    for (const [path, pattern] of cases) {
      const error = await errorOf(node.fromPath(path));
      assert.instance(error, WeightsError);
      assert.match(error.message, pattern);
    }
    assert.instance(await errorOf(web.fromPath("model.safetensors")), WeightsError);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();

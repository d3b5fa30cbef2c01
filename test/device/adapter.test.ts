import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { brotliCompressSync } from "node:zlib";
import * as assert from "uvu/assert";
import { AdapterError } from "../../runtime/errors.js";
import { findSoftwareAdapter, requestDevice, type DeviceOptions } from "../../runtime/node.js";
import { unpack } from "../../runtime/node-software.js";
import { softwareReason } from "../tools/adapter.js";
import { skipAll, suite } from "../tools/suite.js";

const test = suite("Node's devices");

async function refusal(options: DeviceOptions): Promise<string> {
  try {
    (await requestDevice(options)).device.destroy();
  } catch (error) {
    if (error instanceof AdapterError) return error.message;
    throw error;
  }
  throw new Error("it should have been refused");
}

/** Runs with an environment variable set to something else. */
async function withVariable<T>(name: string, value: string, action: () => Promise<T>): Promise<T> {
  const before = process.env[name];
  process.env[name] = value;
  try {
    return await action();
  } finally {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  }
}

test("the null backend says what it is", async () => {
  const { device, adapter } = await requestDevice({ adapter: "null" });
  assert.is(adapter.null, true);
  assert.is(adapter.software, false);
  device.destroy();
});

test("an adapter choice, a flag and a driver that are wrong are refused by name", async () => {
  assert.match(await refusal(JSON.parse('{ "adapter": "cuda" }') as DeviceOptions), '"cuda"');
  assert.match(await refusal({ adapter: "null", flags: ["nonsense"] }), "nonsense");
});

test("an archive is unpacked once, whole or not at all", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vitc-unpack-"));
  try {
    await withVariable("XDG_CACHE_HOME", join(folder, "cache"), async () => {
      const packed = { path: join(folder, "tool.br"), file: "tool" };
      const bytes = brotliCompressSync("the tool");
      writeFileSync(packed.path, bytes);
      const [one, other] = await Promise.all([unpack("tool", [packed], ["tool"]), unpack("tool", [packed], ["tool"])]);
      assert.is(one, other);
      assert.is(readFileSync(join(one, "tool"), "utf8"), "the tool");
      rmSync(join(one, "tool"));
      assert.is(await unpack("tool", [packed], ["tool"]), one, "a damaged folder is made anew");
      assert.is(readFileSync(join(one, "tool"), "utf8"), "the tool");

      writeFileSync(packed.path, bytes.subarray(0, -3));
      let error: unknown;
      await unpack("tool", [packed], ["tool"]).catch((thrown: unknown) => (error = thrown));
      assert.instance(error, Error, "a truncated archive is refused");
      assert.is(readdirSync(join(folder, "cache", "vitc")).length, 1, "nothing is left of what failed");
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const found = await findSoftwareAdapter();
test.run();
if ("reason" in found) skipAll("the software adapter", found.reason);
else {
  const software = suite("the software adapter");

  software("computes, says that it is software, and leaves the environment and globalThis alone", async () => {
    const before = { variables: JSON.stringify(process.env), globals: Object.getOwnPropertyNames(globalThis).join() };
    const { device, adapter } = await requestDevice({ adapter: "software" });
    assert.is(adapter.software, true);
    assert.match(adapter.notice ?? "", "CPU runtime");
    assert.equal(await double(device, [1, 2.5, -3, 1e10]), [2, 5, -6, 2e10]);
    device.destroy();
    assert.equal({ variables: JSON.stringify(process.env), globals: Object.getOwnPropertyNames(globalThis).join() }, before);
  });

  software("is the one that the tests were told to run on, and another is refused", async () => {
    assert.is(await softwareReason(), undefined);
    const here = process.env["VITC_TEST_ADAPTER"] ?? "swiftshader";
    const another = here === "lavapipe" ? "swiftshader" : "lavapipe";
    const refused = (name: string): Promise<string> => withVariable("VITC_TEST_ADAPTER", name, () => softwareReason().then(String, String));
    assert.match(await refused(another), `to run on ${another}, and the software adapter here is`);
    assert.match(await refused("cuda"), 'VITC_TEST_ADAPTER is "cuda"; allowed are swiftshader and lavapipe');
  });

  software("auto finds an adapter wherever there is a software one, and gpu never takes it", async () => {
    const { device, adapter } = await requestDevice();
    assert.is(adapter.null, false);
    device.destroy();
    if (adapter.software) assert.match(await refusal({ adapter: "gpu" }), "No GPU adapter was found");
  });

  software("limits and features are checked against the adapter, and stay at their defaults unless asked for", async () => {
    assert.match(await refusal({ adapter: "software", requiredLimits: { maxBufferSize: 2 ** 50 } }), /maxBufferSize of 1125899906842624 is wanted, and .* has \d+/);
    assert.match(await refusal({ adapter: "software", requiredLimits: { maxBuferSize: 1 } }), "maxBuferSize is not a limit");
    assert.match(await refusal({ adapter: "software", requiredLimits: { maxBufferSize: 0.5 } }), "whole number");
    assert.match(await refusal({ adapter: "software", requiredFeatures: ["no-such-feature"] }), "lacks no-such-feature");
    const usual = await requestDevice({ adapter: "software" });
    assert.is(usual.device.limits.maxBufferSize, 2 ** 28);
    const larger = await requestDevice({ adapter: "software", requiredLimits: { maxBufferSize: 2 ** 29 } });
    assert.is(larger.device.limits.maxBufferSize, 2 ** 29);
    for (const { device } of [usual, larger]) device.destroy();
  });

  software("VITC_SWIFTSHADER names the driver, and one that is wrong is not passed over", async () => {
    const { icd } = found;
    assert.match(JSON.stringify(await withVariable("VITC_SWIFTSHADER", icd, findSoftwareAdapter)), "VITC_SWIFTSHADER");
    const wrong = await withVariable("VITC_SWIFTSHADER", "/no/such/folder", findSoftwareAdapter);
    assert.ok("reason" in wrong);
    assert.match("reason" in wrong ? wrong.reason : "", "/no/such/folder");
  });

  software("a device outlives the garbage collection of everything but itself", async () => {
    const { device } = await requestDevice({ adapter: "software" });
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    assert.type(collect, "function");
    for (let round = 0; round < 5; round++) {
      collect();
      await new Promise((done) => setTimeout(done, 10));
      assert.equal(await double(device, [round, 1, 1, 1]), [2 * round, 2, 2, 2]);
    }
    device.destroy();
  });

  software.run();
}

/** Doubles four numbers on the device. */
async function double(device: GPUDevice, values: readonly number[]): Promise<number[]> {
  const code = "@group(0) @binding(0) var<storage, read_write> values: array<f32>;\n@compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { values[i] *= 2; }";
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }) } });
  // Node has no GPUBufferUsage: STORAGE | COPY_SRC | COPY_DST, and MAP_READ | COPY_DST.
  const buffer = device.createBuffer({ size: 16, usage: 0x80 | 0x4 | 0x8 });
  const readback = device.createBuffer({ size: 16, usage: 0x1 | 0x8 });
  device.queue.writeBuffer(buffer, 0, new Float32Array(values));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, readback, 0, 16);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(0x1);
  return [...new Float32Array(readback.getMappedRange())];
}

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { writeSafetensors } from "../../compiler/checkpoint/safetensors.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { defineSweep, type AxesSweep, type Sweep } from "../../compiler/sweep/define.js";
import type { Row } from "../../compiler/sweep/row.js";
import { parseRows } from "../../compiler/sweep/store.js";
import { sweep, type SweepOptions } from "../../compiler/sweep/sweep.js";
import { costPredictor } from "../../compiler/sweep/predictor.js";
import { resolveVariant } from "../../compiler/sweep/variants.js";
import { requestDevice } from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { worstError } from "../tools/fixtures.js";
import { f32 } from "../tools/packages.js";
import { smallSpec } from "../tools/specs.js";
import { skipAll, suite } from "../tools/suite.js";
import { randomValues } from "../tools/tensors.js";

const reason = await softwareReason();
if (reason) skipAll("sweeps on a device", reason);
else {
  const test = suite("sweeps on a device");
  const { device } = await requestDevice({ adapter: "software" });
  const folder = mkdtempSync(join(tmpdir(), "vitc-sweep-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  let files = 0;
  const newFile = (): string => join(folder, `${++files}.jsonl`);

  const definition = (change: Partial<AxesSweep> = {}): AxesSweep => defineSweep({ base: smallSpec({ depth: 1 }), axes: { depth: [1, 2, 3] }, ...change }) as AxesSweep;

  async function collect(of: Sweep, options: SweepOptions = {}): Promise<Row[]> {
    const rows: Row[] = [];
    for await (const row of sweep(of, { device, runs: 3, onNotice: () => {}, ...options })) rows.push(row);
    return rows;
  }

  /** In the order of their texts, for rows come in that in which they are known. */
  const sorted = <T>(list: readonly T[]): readonly T[] => list.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

  const calls = (counted: GPUDevice, made: Map<string, number>): GPUDevice =>
    new Proxy(counted, {
      get(of, key): unknown {
        const value: unknown = Reflect.get(of, key, of);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          const name = key === "createBuffer" ? `buffer ${(args[0] as GPUBufferDescriptor).label}` : String(key);
          made.set(name, (made.get(name) ?? 0) + 1);
          return Reflect.apply(value, of, args);
        };
      },
    });

  test("every variant is measured once, agrees with the interpreter, and its numbers fit each other", async () => {
    const rows = await collect(definition());
    assert.equal(rows.map(({ name }) => name).toSorted(), ["small-depth1", "small-depth2", "small-depth3"]);
    for (const row of rows) {
      assert.is(row.failed, null);
      assert.ok(row.p50_ms! > 0 && row.p50_ms! <= row.p95_ms! && row.first_ms! > 0 && row.compile_ms! > 0 && row.runs === 3, JSON.stringify(row));
      assert.ok(Math.abs(row.images_per_s! - 1000 / row.p50_ms!) < 1e-6 * row.images_per_s!);
      assert.ok(row.max_abs_error! > 0 && row.max_abs_error! < 1e-4, `error ${row.max_abs_error}`);
      assert.ok(row.roofline_share! > 0 && row.drift! > 0 && row.predicted_ms! > 0 && /^(compute|memory|launches)$/.test(row.bound_by!));
      assert.match(row.adapter!, /SwiftShader|llvmpipe/i);
      assert.match(row.plan_hash!, /^[0-9a-f]{16}$/);
    }
    assert.equal((await collect(definition({ axes: { depth: [1] } }), { checkedGmacs: 0 })).map(({ max_abs_error }) => max_abs_error), [null]);
  });

  test("a run allocates what the columns say, and the metric is a column", async () => {
    const [row] = await collect(definition({ axes: { depth: [2] }, metric: (model) => model.gpuBytes }));
    assert.is(row!.metric, Math.round((row!.weights_mb! + row!.activation_mb!) * 1e6));
  });

  test("a metric is given the variant's own weights, whoever else's lie in the same memory", async () => {
    const images = new Map<string, ReturnType<typeof randomValues>>();
    const of = definition({
      axes: { depth: [1, 2, 3], "mlp.ratio": [2, 4] },
      weights: (spec) => {
        const graph = buildGraph(resolveVariant(spec), { batch: 1 });
        const values = randomValues(graph, 3);
        images.set(spec.name, values);
        return writeSafetensors(graph.parameters.map(({ name, value }) => ({ name, shape: value.shape, data: f32(values.parameters(name).data) })));
      },
      metric: async (model, spec) => {
        const values = images.get(spec.name)!;
        const exact = interpret(buildGraph(resolveVariant(spec), { batch: 1 }), values);
        return worstError((await model.run(f32(values.inputs["input"]!.data)))["logits"]!, exact.get("logits")!.data);
      },
    });
    const rows = await collect(of, { runs: 1 });
    assert.ok(rows.length === 6 && rows.every(({ metric, max_abs_error }) => metric! < 1e-4 && max_abs_error === null), JSON.stringify(rows.map(({ metric, failed }) => [metric, failed])));
  });

  test("pipelines of equal kernels are built once, and memory is shared", async () => {
    const [one, many] = [new Map<string, number>(), new Map<string, number>()];
    // A probe of the device builds as many pipelines as it has time for.
    const predictor = costPredictor("cpu4");
    await collect(definition({ axes: { depth: [4] } }), { device: calls(device, one), predictor, runs: 1 });
    await collect(definition({ axes: { depth: [4, 5, 6] } }), { device: calls(device, many), predictor, runs: 1 });
    assert.ok(one.get("createComputePipelineAsync")! > 5);
    assert.is(many.get("createComputePipelineAsync"), one.get("createComputePipelineAsync"), "depth adds no kernels");
    assert.is(many.get("buffer arena.0"), one.get("buffer arena.0"));
    assert.is(many.get("buffer input"), 1);
  });

  test("what fails is a row with its reason, and not the end", async () => {
    const rows = await collect(definition({ axes: { depth: [1, 2, 3], patch: [3, 4] }, metric: (_model, spec) => (spec.depth === 1 ? NaN : spec.depth) }), { runs: 1 });
    assert.equal(sorted(rows.map(({ name, failed, p50_ms }) => [name, failed?.slice(0, 30) ?? null, p50_ms !== null])), [
      ["small-depth1-patch3", "image: height 8 of the image i", false],
      ["small-depth1-patch4", "metric returned NaN, and a num", false],
      ["small-depth2-patch3", "image: height 8 of the image i", false],
      ["small-depth2-patch4", null, true],
      ["small-depth3-patch3", "image: height 8 of the image i", false],
      ["small-depth3-patch4", null, true],
    ]);
  });

  test("a device that is destroyed in the middle is requested again, and nothing is lost", async () => {
    let requests = 0;
    let destroyed = 0;
    const opened: GPUDevice[] = [];
    const notices: string[] = [];
    const rows = await collect(definition({
      metric: (_model, spec) => {
        // While a variant is loaded, and so with others on the device.
        if (spec.depth === 2 && destroyed++ === 0) opened.at(-1)!.destroy();
        return spec.depth;
      },
    }), {
      device: async () => {
        requests++;
        opened.push((await requestDevice({ adapter: "software" })).device);
        return opened.at(-1)!;
      },
      onNotice: (notice) => void notices.push(notice),
    });
    for (const each of opened) each.destroy();
    assert.is(requests, 2);
    assert.equal(sorted(rows.map(({ depth, failed, runs }) => [depth, failed, runs])), [1, 2, 3].map((depth) => [depth, null, 3]));
    assert.match(notices.join("\n"), /The device was lost while small-depth2.* was loaded or run/);
  });

  test("a variant that loses the device each time is a row; a device that cannot be had again is an error that keeps the rows", async () => {
    const opened: GPUDevice[] = [];
    const request = async (): Promise<GPUDevice> => {
      opened.push((await requestDevice({ adapter: "software" })).device);
      return opened.at(-1)!;
    };
    const hostile = definition({
      axes: { depth: [1, 2, 3] },
      metric: (_model, spec) => {
        if (spec.depth === 3) opened.at(-1)!.destroy();
        return spec.depth;
      },
    });
    const rows = await collect(hostile, { device: request, runs: 1 });
    assert.equal(sorted(rows.map(({ depth, failed }) => [depth, failed])), [[1, null], [2, null], [3, "the device was lost 2 times while it was loaded or run"]]);

    const path = newFile();
    const own = await request();
    let message = "";
    try {
      await collect(hostile, { device: own, runs: 1, rows: path });
    } catch (error) {
      message = String(error);
    }
    assert.match(message, /DeviceLostError: Your device was lost; rows before it are kept\. Give a function/);
    for (const each of opened) each.destroy();
    const kept = parseRows(readFileSync(path, "utf8")).rows;
    // Depth 1 is the reference, which is measured first or with the variant that loses the device.
    assert.ok(kept.length <= 2 && kept.every(({ failed }) => failed === null));
  });

  test("what is in the file is not measured again, failures included, and rows come from it", async () => {
    const path = newFile();
    const of = definition({ metric: (_model, spec) => (spec.depth === 3 ? NaN : spec.depth) });
    const first = await collect(of, { rows: path });
    const lines = parseRows(readFileSync(path, "utf8")).rows;
    assert.is(lines.length, 3);
    let measured = 0;
    const again = definition({ metric: () => ++measured });
    const second = await collect(again, { rows: path });
    assert.is(measured, 0);
    const numbers = (rows: readonly Row[]) => sorted(rows.map(({ name, p50_ms, failed, runs, metric }) => [name, p50_ms, failed, runs, metric]));
    assert.equal(numbers(second), numbers(first));
    await collect(again, { rows: path, retryFailed: true });
    assert.is(measured, 1 + 1, "the one that failed, and the reference beside it");
    // Without a device the rows of the file are the rows of the sweep.
    const shown: Row[] = [];
    for await (const row of sweep(definition(), { rows: path })) shown.push(row);
    assert.ok(shown.every(({ p50_ms, failed }) => p50_ms !== null && failed === null) && shown.length === 3);
    // A plan that has changed is another model.
    writeFileSync(path, readFileSync(path, "utf8").replaceAll(/"plan_hash":"./g, '"plan_hash":"_'));
    const stale: Row[] = [];
    for await (const row of sweep(definition(), { rows: path })) stale.push(row);
    assert.ok(stale.every(({ p50_ms }) => p50_ms === null) && stale.length === 3);
  });

  test("a machine that has changed is told by the reference variant, and said", async () => {
    const path = newFile();
    const of = definition({ axes: { depth: [1, 2] } });
    await collect(of, { rows: path });
    const rows = parseRows(readFileSync(path, "utf8")).rows;
    const reference = rows.find(({ depth }) => depth === 1)!;
    writeFileSync(path, `${JSON.stringify({ ...reference, p50_ms: reference.p50_ms! / 1000 })}\n`);
    const notices: string[] = [];
    const measured = await collect(of, { rows: path, onNotice: (notice) => void notices.push(notice) });
    assert.match(notices.join("\n"), /The machine has changed: small-depth1, which runs in every round, takes \d+\.\d+ times as long as at first/);
    assert.ok(measured.find(({ depth }) => depth === 2)!.drift! > 10);

    // So it is where the time is over, or Ctrl-C ends it, before any variant has all its runs.
    const asked = { rows: path, runs: 100_000, predictor: { predict: () => ({ ms: 1e-4, low: 1e-4, high: 1e-4 }) }, onNotice: (notice: string) => void notices.push(notice) };
    const start = (): void => {
      writeFileSync(path, `${JSON.stringify({ ...reference, p50_ms: reference.p50_ms! / 1000, runs: 5 })}\n`);
      notices.length = 0;
    };
    start();
    const within = await collect(of, { ...asked, budget: 1500 });
    assert.ok(within.find(({ depth }) => depth === 2)!.runs! < 100_000);
    assert.match(notices.join("\n"), /The machine has changed/);
    start();
    const controller = new AbortController();
    let steps = 0;
    const onProgress = ({ detail }: { readonly detail: string }): void => {
      if (detail === "small-depth2" && ++steps === 4) controller.abort(new Error("enough"));
    };
    await collect(of, { ...asked, signal: controller.signal, onProgress }).catch((error: unknown) => assert.is(String(error), "Error: enough"));
    assert.is(parseRows(readFileSync(path, "utf8")).rows.length, 2);
    assert.match(notices.join("\n"), /The machine has changed/);
  });

  test("a budget ends the measuring and not the rows; each variant comes once", async () => {
    const rows = await collect(definition({ axes: { depth: Array.from({ length: 32 }, (_, i) => i + 1) } }), { budget: 1, runs: 1 });
    assert.is(new Set(rows.map(({ name }) => name)).size, 32);
    assert.is(rows.length, 32);
    assert.ok(rows.some(({ p50_ms, predicted_ms, failed }) => p50_ms === null && predicted_ms! > 0 && failed === null));
  });

  test("an abort yields what has run and ends with its reason", async () => {
    const controller = new AbortController();
    const rows: Row[] = [];
    let message = "";
    try {
      for await (const row of sweep(definition({ axes: { depth: [1, 2, 3, 4, 5, 6, 7, 8] } }), { device, runs: 1, onNotice: () => {}, signal: controller.signal })) {
        rows.push(row);
        controller.abort(new Error("enough"));
      }
    } catch (error) {
      message = String(error);
    }
    assert.is(message, "Error: enough");
    assert.ok(rows.length >= 1 && rows.length < 8 && rows.every(({ p50_ms }) => p50_ms !== null));
  });

  test.run();
}

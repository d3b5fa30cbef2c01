import * as assert from "uvu/assert";
import { tuningFor } from "../../compiler/cli/tuning-file.js";
import { generator } from "../../compiler/measure/statistics.js";
import { decide } from "../../compiler/measure/tune-decision.js";
import { differences } from "../../compiler/measure/tune-network.js";
import { tune, type Choices, type TunableNetwork, type TuneOptions } from "../../compiler/measure/tune.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { suite } from "../tools/suite.js";

const test = suite("tune");

/** Microseconds of each way; the first is the untuned one. A way that is called wrong has wrong outputs. */
type Ways = Readonly<Record<string, number>>;

interface Fake extends TunableNetwork {
  /** What was asked, in order. */
  readonly asked: string[];
  now(): number;
}

interface FakeOptions {
  readonly batches?: Readonly<Record<string, readonly number[]>>;
  /** Largest share by which a sample may be off. */
  readonly noise?: number;
  readonly timesRoutines?: boolean;
  /** What the whole network takes beyond its routines, where it is done in these ways. */
  readonly extra?: (choices: Choices) => number;
  readonly verify?: (choices: Choices) => string | undefined;
}

/** A network whose clock goes by what it is asked to run. */
function fake(routines: Readonly<Record<string, Ways>>, { batches = {}, noise = 0, timesRoutines = true, extra = () => 0, verify }: FakeOptions = {}): Fake {
  const random = generator(7);
  const asked: string[] = [];
  let clock = 0;
  const noisy = (time: number): number => time * (1 + noise * (2 * random() - 1));
  const batchesOf = (id: string): readonly number[] => batches[id] ?? [1];
  const all = [...new Set(Object.keys(routines).flatMap(batchesOf))].sort((a, b) => a - b);
  const sum = (times: Iterable<number>): number => [...times].reduce((total, time) => total + time, 0);
  const times = (choices: Choices, batch: number) => new Map(Object.entries(routines).filter(([id]) => batchesOf(id).includes(batch)).map(([id, ways]) => [id, noisy(ways[choices[id]!]!)]));
  const spend = (microseconds: number): void => void (clock += microseconds / 1000);
  return {
    asked,
    now: () => clock,
    routines: Object.entries(routines).map(([id, ways]) => ({ id, usable: Object.keys(ways), untuned: Object.keys(ways)[0]!, batches: batchesOf(id) })),
    batches: all,
    timesRoutines,
    async verify(choices) {
      asked.push(`verify ${Object.values(choices).join()}`);
      return verify ? verify(choices) : Object.values(choices).some((name) => name.startsWith("wrong")) ? "logits are wrong by 1" : undefined;
    },
    async timeRoutines(choices, batch) {
      const found = times(choices, batch);
      spend(sum(found.values()));
      asked.push(`time ${Object.values(choices).join()}`);
      return found;
    },
    async timeRun(choices, batch) {
      const time = sum(times(choices, batch).values()) + extra(choices);
      spend(time);
      asked.push(`run ${Object.values(choices).join()}`);
      return time;
    },
  };
}

const tuned = (network: Fake, options: Partial<TuneOptions> = {}) => tune(network, { seconds: 1000, seed: 1, now: () => network.now(), ...options });

test("a way that is faster by a fifth is taken, and the whole network confirms it", async () => {
  const { choices, batches, routines, outOfTime } = await tuned(fake({ gemm: { old: 100, new: 80 }, attention: { only: 50 } }, { noise: 0.02 }));
  assert.equal(choices, { gemm: "new", attention: "only" });
  const [way] = routines.find(({ id }) => id === "gemm")!.alternatives;
  assert.is(way!.verdict, "switched");
  assert.ok(way!.interval!.high < 0.9 && Math.abs(way!.ratio! - 0.8) < 0.03, way!.reason);
  assert.equal(batches.map(({ batch, kept }) => [batch, kept]), [[1, true]]);
  assert.ok(batches[0]!.ratio < 0.9);
  assert.is(outOfTime, false);
});

test("a way that is faster by 4 % is not taken, however sure that is", async () => {
  const { choices, routines, batches } = await tuned(fake({ gemm: { old: 100, new: 96 } }));
  assert.equal(choices, { gemm: "old" });
  assert.is(routines[0]!.alternatives[0]!.verdict, "too little");
  assert.equal(batches, []);
  const bit = await tuned(fake({ gemm: { old: 100, new: 94 } }));
  assert.equal(bit.choices, { gemm: "new" });
});

test("ways that differ by noise alone stay as they are", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { choices } = await tuned(fake({ gemm: { old: 100, a: 100, b: 99.5, c: 100.5 }, attention: { old: 40, a: 40 } }, { noise: 0.3 }), { seed });
    assert.equal(choices, { gemm: "old", attention: "old" }, `seed ${seed}`);
  }
});

test("where whole runs alone are timed, a win counts by the time of the routine", async () => {
  // 20 % of a routine that takes a tenth of the run, and 4 % of it.
  for (const [time, taken] of [[80, "new"], [97, "old"]] as const) {
    const { choices } = await tuned(fake({ gemm: { old: 100, new: time }, rest: { only: 900 } }, { timesRoutines: false, noise: 0.001 }));
    assert.is(choices["gemm"], taken);
  }
});

test("a way with wrong outputs is refused, however fast it is", async () => {
  const network = fake({ gemm: { old: 100, wrong: 1, new: 70 } });
  const { choices, routines } = await tuned(network);
  assert.equal(choices, { gemm: "new" });
  assert.equal(routines[0]!.alternatives.map(({ name, verdict }) => [name, verdict]), [["wrong", "wrong"], ["new", "switched"]]);
  assert.not.ok(network.asked.some((what) => /^(time|run) wrong/.test(what)), "it is never timed");
});

test("ways that are right alone and wrong together are all given up", async () => {
  const together = (choices: Choices) => (choices["a"] === "new" && choices["b"] === "new" ? "logits are wrong by 2" : undefined);
  // Each is looked at with the switches before it, so the second is refused already.
  const first = await tuned(fake({ a: { old: 100, new: 50 }, b: { old: 90, new: 50 } }, { verify: together }));
  assert.equal(first.choices, { a: "new", b: "old" });
  let asked = 0;
  const last = await tuned(fake({ a: { old: 100, new: 50 } }, { verify: () => (++asked === 3 ? "logits are wrong by 2" : undefined) }));
  assert.equal([last.choices, last.combined], [{ a: "old" }, "logits are wrong by 2"]);
});

test("wrong outputs without any switch are an error", async () => {
  let thrown: unknown;
  await tuned(fake({ wrong: { wrong: 100, new: 50 } })).catch((error: unknown) => (thrown = error));
  assert.match(String(thrown), /wrong without it: logits are wrong by 1/);
});

test("if the whole network is not faster, its batch size stays untuned and the others do not", async () => {
  const network = fake({ small: { old: 100, new: 50 }, large: { old: 400, new: 200 } }, { batches: { small: [1], large: [8] }, extra: ({ small }) => (small === "new" ? 300 : 0) });
  // The extra time is that of both batch sizes here, so the large one is judged by the rest.
  const { choices, batches } = await tuned({ ...network, timeRun: async (chosen, batch) => (batch === 1 ? network.timeRun(chosen, 1) : network.timeRun({ ...chosen, small: "old" }, 8)) });
  assert.equal(batches.map(({ batch, kept }) => [batch, kept]), [[1, false], [8, true]]);
  assert.equal(choices, { small: "old", large: "new" });
});

test("the most expensive routine comes first, and the time that is left over decides how far it goes", async () => {
  const ways = { old: 1000, new: 500 };
  const network = fake({ cheap: { old: 100, new: 50 }, dear: ways, middle: { old: 300, new: 150 } });
  const { routines } = await tuned(network);
  assert.equal(routines.map(({ id }) => id), ["dear", "middle", "cheap"]);
  const whole = network.now();
  const short = fake({ cheap: { old: 100, new: 50 }, dear: ways, middle: { old: 300, new: 150 } });
  const { choices, outOfTime, batches } = await tuned(short, { seconds: 0.25 });
  assert.equal([choices, outOfTime], [{ dear: "new", middle: "old", cheap: "old" }, true]);
  assert.equal(batches.map(({ kept }) => kept), [true], "what was found is still held against the untuned run");
  assert.ok(short.now() < whole);
  const none = await tuned(fake({ dear: ways }), { seconds: 0.0001 });
  assert.equal([none.choices, none.outOfTime, none.routines[0]!.measured, none.routines[0]!.alternatives.map(({ verdict }) => verdict)], [{ dear: "old" }, true, false, ["unmeasured"]]);
});

test("a routine that takes next to nothing is left alone", async () => {
  const { routines } = await tuned(fake({ dear: { only: 10_000 }, dust: { old: 10, new: 1 } }));
  assert.equal(routines[1]!.alternatives.map(({ verdict, reason }) => [verdict, reason]), [["unmeasured", "the routine takes less than 0.5 % of a run"]]);
});

test("an interrupt ends it between two runs", async () => {
  const controller = new AbortController();
  const network = fake({ gemm: { old: 100, new: 80 } });
  let thrown: unknown;
  const aborting: TunableNetwork = { ...network, timeRoutines: async (choices, batch) => (network.asked.length > 12 && controller.abort(new Error("Ctrl-C")), network.timeRoutines(choices, batch)) };
  await tune(aborting, { seconds: 1000, seed: 1, now: () => network.now(), signal: controller.signal }).catch((error: unknown) => (thrown = error));
  assert.is((thrown as Error | undefined)?.message, "Ctrl-C");
  assert.is(network.asked.length, 14);
});

test("ways take turns, in an order that the seed decides", async () => {
  const order = async (seed: number): Promise<string> => {
    const network = fake({ gemm: { old: 100, a: 99, b: 98 } }, { noise: 0.01 });
    await tuned(network, { seed });
    return network.asked.filter((what) => what.startsWith("time")).join();
  };
  assert.is(await order(1), await order(1));
  assert.not.equal(await order(1), await order(2));
  const rounds = (await order(1)).split(",").slice(5, 11);
  assert.equal([rounds.slice(0, 3).toSorted(), rounds.slice(3).toSorted()], [["time a", "time b", "time old"], ["time a", "time b", "time old"]], "each once a round");
});

test("decide asks for a share of the routine's own time, and for more than noise", () => {
  const steady = (time: number) => Array.from({ length: 15 }, (_, i) => time + i * 1e-3);
  const verdict = (before: number, after: number, own = before) => decide({ before: steady(before), after: steady(after), own }).verdict;
  assert.equal([verdict(100, 90), verdict(100, 96), verdict(100, 100), verdict(100, 110)], ["switched", "too little", "slower", "slower"]);
  assert.equal([verdict(1000, 990, 100), verdict(1000, 996, 100)], ["switched", "too little"]);
  const wild = Array.from({ length: 15 }, (_, i) => 70 + ((i * 37) % 80));
  const { verdict: kind, ratio, interval } = decide({ before: steady(118), after: wild, own: 118 });
  assert.equal([kind, ratio! < 0.95, interval!.high > 1], ["unclear", true, true]);
});

test("outputs are compared value by value in f32, by their norm in f16, and what is no number is wrong", () => {
  const of = (...values: number[]) => ({ logits: Float32Array.from(values) });
  assert.is(differences(of(1, 100), of(1, 100.005), "f32"), undefined);
  assert.match(differences(of(1, 100), of(1.001, 100), "f32")!, /^logits is wrong by 0\.0005/);
  assert.is(differences(of(1, 100), of(1.1, 100), "f16"), undefined);
  assert.match(differences(of(1, 100), of(1, 101), "f16")!, /^logits is wrong by/);
  for (const dtype of ["f32", "f16"] as const) {
    assert.match(differences(of(1, 2), of(1, NaN), dtype)!, /NaN/);
    assert.match(differences(of(1, 2), of(NaN, 2), dtype)!, /NaN/);
    assert.match(differences(of(1, 2), of(Infinity, 2), dtype)!, /Infinity/);
    assert.match(differences(of(1, 2), of(1), dtype)!, /1 values instead of 2/);
    assert.match(differences(of(1, 2), {}, dtype)!, /0 values instead of 2/);
  }
});

test("a package carries what a table measures of it, and says what is gone", () => {
  const { plan } = makePlan(resolve({ name: "small", image: 32, patch: 8, dim: 32, depth: 1, heads: 2, classes: 10 }));
  const routine = plan.routines.find(({ choices }) => choices.length > 1)!;
  const name = routine.choices[1]!.name;
  const fitting = { adapter: "a", choices: { [routine.id]: name, other_model: "quad" } };
  assert.equal(tuningFor([plan], [fitting, { adapter: "b", choices: { other_model: "quad" } }], "t.json"), { tables: [{ adapter: "a", choices: { [routine.id]: name } }], notices: [] });
  const stale = tuningFor([plan], [{ adapter: "a", choices: { [routine.id]: "gone" } }], "t.json");
  assert.equal(stale.tables, []);
  assert.match(stale.notices.join("\n"), /^--tuning t\.json: 1 measured way is not there any more \(.* by gone\), so nothing of it is used: tune again with: npx vitc tune PACKAGE --out t\.json$/);
  const partly = tuningFor([plan], [{ adapter: "a", choices: { [routine.id]: "gone" } }, fitting], "t.json");
  assert.match(partly.notices.join("\n"), /^--tuning t\.json: 1 measured way is not there any more \(.* by gone\): tune again/);
  assert.match(tuningFor([plan], [{ adapter: "a", choices: { other_model: "quad" } }], "t.json").notices.join("\n"), /^--tuning t\.json measures no routine of this model/);
});

test.run();

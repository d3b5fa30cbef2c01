/** The race with other runtimes, as far as it needs none of them: turns, outcomes, processes that crash and hang, the table, the options. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as assert from "uvu/assert";
import { importPeer } from "../bench/peers/installed.js";
import { readOptions } from "../bench/peers/options.js";
import { PeerProcess } from "../bench/peers/protocol.js";
import { race, type Peer, type RaceOptions } from "../bench/peers/race.js";
import type { Job } from "../bench/peers/runtime.js";
import type { Runtime } from "../bench/peers/runtimes.js";
import { markdown, rowOf, type Outcome } from "../bench/peers/table.js";
import { takeTurns, type Contestant } from "../bench/peers/turns.js";
import { folderWith } from "../cli/vitc.js";
import { suite } from "../tools/suite.js";

const test = suite("peers");

// ------------------------------------------------------------------------------------------------------- turns

/** Someone whose runs take these milliseconds, as they say; the last one again and again. */
function contestant(name: string, log: string[], ...times: readonly (number | Error)[]): Contestant {
  let runs = 0;
  return {
    name,
    run() {
      log.push(name);
      const time = times[Math.min(runs++, times.length - 1)] ?? 0;
      return time instanceof Error ? Promise.reject(time) : Promise.resolve(time);
    },
  };
}

test("everyone runs once a round, and each round begins with another one", async () => {
  const log: string[] = [];
  const times = await takeTurns(["a", "b", "c"].map((name, i) => contestant(name, log, i)), { fewest: 3, most: 3, seconds: 0 });
  assert.is(log.join(""), "abcbcacab");
  assert.equal([...times].map(([name, { samples }]) => [name, samples]), [["a", [0, 0, 0]], ["b", [1, 1, 1]], ["c", [2, 2, 2]]]);
});

test("a slow one stops after the fewest runs, a quick one at the most, and others when their seconds are over", async () => {
  const log: string[] = [];
  const times = await takeTurns([contestant("slow", log, 5000), contestant("middling", log, 300), contestant("quick", log, 1)], { fewest: 3, most: 10, seconds: 1.5 });
  assert.equal([...times.values()].map(({ samples }) => samples.length), [3, 5, 10]);
});

test("whoever fails is out, with its reason and what it had, and the others go on", async () => {
  const log: string[] = [];
  const times = await takeTurns([contestant("fails", log, 7, new Error("no more")), contestant("fine", log, 1)], { fewest: 4, most: 4, seconds: 0 });
  assert.equal(times.get("fails"), { samples: [7], failure: "no more" });
  assert.equal(times.get("fine"), { samples: [1, 1, 1, 1] });
});

// ------------------------------------------------------------------------------------------------------ outcomes

const runtime = (name: string, more: Partial<Runtime> = {}): Runtime => ({ name, title: name, host: "node", module: `${name}.ts`, ...more });

/** A runtime that loads in 5 ms, runs in 10, and gives these outputs, the last one again and again. */
function stand(outputs: readonly (readonly number[])[], { idleShare = 0, refusal }: { readonly idleShare?: number; readonly refusal?: string } = {}): Peer & { readonly ended: () => boolean } {
  let [runs, ended] = [0, false];
  return {
    open: () => (refusal === undefined ? Promise.resolve({ version: "1.0", adapter: "stand-in", loadMilliseconds: 5 }) : Promise.reject(new Error(refusal))),
    run: () => Promise.resolve({ milliseconds: 10, output: Float32Array.from(outputs[Math.min(runs++, outputs.length - 1)] ?? []), idleShare }),
    end: () => Promise.resolve(void (ended = true)),
    ended: () => ended,
  };
}

/** No fake looks at it. */
const job = { root: "", name: "model" } as unknown as Job;

function raceOf(peers: Readonly<Record<string, Peer>>, options: Partial<RaceOptions> = {}): ReturnType<typeof race> {
  const start = ({ name }: Runtime): Peer => peers[name] ?? assert.unreachable(name) ?? stand([]);
  return race({ runtimes: Object.keys(peers).map((name) => runtime(name)), job, start, references: ["reference"], tolerance: 1e-3, lengths: { fewest: 3, most: 3, seconds: 0 }, timeout: 1, onProgress: () => {}, ...options });
}

test("only right outputs are timed, and every process is ended", async () => {
  const peers = {
    near: stand([[1, 2.0001]]),
    reference: stand([[1, 2]]),
    wrong: stand([[1, 2.1]]),
    short: stand([[1]]),
    infinite: stand([[1, Infinity]]),
    rightOnce: stand([[1, 2], [1, 2], [5, 5]]),
    refuses: stand([], { refusal: "there is no op Gelu" }),
  };
  const { outcomes, reference } = await raceOf(peers);
  const [near, , wrong, short, infinite, rightOnce, refuses] = outcomes;
  assert.is(reference, "reference");
  assert.equal([near?.samples, near?.failed, near?.error?.toExponential(1)], [[10, 10, 10], false, "3.3e-5"]);
  const notes = [wrong, short, infinite, rightOnce, refuses].map((outcome) => [outcome?.failed, outcome?.notes.join()]);
  assert.equal(notes, [
    [true, "not timed: its output is wrong: an error of 3.3e-2 against reference"],
    [true, "not timed: its output has 1 values, not 2"],
    [true, "not timed: its output is wrong: an error of Infinity against reference"],
    [true, "not timed: after 1 runs: its output is wrong: an error of 2.0e+0 against reference"],
    [true, "not timed: there is no op Gelu"],
  ]);
  assert.ok([wrong, short, infinite, refuses].every((outcome) => outcome?.samples.length === 0));
  assert.ok(Object.values(peers).every(({ ended }) => ended()));
});

test("without its reference a race compares with whoever answers first", async () => {
  const { outcomes, reference } = await raceOf({ reference: stand([], { refusal: "it is not installed" }), a: stand([[1]]), b: stand([[1]]) });
  assert.is(reference, "a");
  assert.equal(outcomes.map(({ failed }) => failed), [true, false, false]);
});

test("a process that is busy while others run is told on", async () => {
  const { outcomes } = await raceOf({ reference: stand([[1]]), busy: stand([[1]], { idleShare: 0.5 }) });
  assert.equal([outcomes[1]?.notes, outcomes[1]?.failed], [["used 50 % of a core while others ran"], false]);
});

// ----------------------------------------------------------------------------------------------------- processes

const fakes = {
  good: "run: async () => ({ milliseconds: 1, output: Float32Array.of(1, 2) })",
  crashes: 'run: () => { console.error("the driver gave up"); process.kill(process.pid, "SIGSEGV"); return new Promise(() => setTimeout(() => {}, 60_000)); }',
  exits: "run: () => process.exit(3)",
  hangs: "run: () => { for (;;); }",
  throws: 'run: async () => { throw new Error("op Gelu\\n  is not here"); }',
};
const folder = folderWith(Object.fromEntries(Object.entries(fakes).map(([name, run]) => [`${name}.mjs`, `export const open = async () => ({ version: "1", adapter: "none", loadMilliseconds: 2, ${run} });\n`])));
const fakeProcess = (name: string): PeerProcess => new PeerProcess(pathToFileURL(join(folder, `${name}.mjs`)).href);
/** Starting a process may take long on a busy machine, and is not what hangs here. */
const patient = (name: string): Peer => {
  const peer = fakeProcess(name);
  return { open: (given) => peer.open(given, 60), run: () => peer.run(name === "hangs" ? 1 : 60), end: () => peer.end() };
};

test("a process that crashes, exits, hangs or throws is an outcome, and the others race on", async () => {
  const names = Object.keys(fakes);
  const { outcomes } = await raceOf(Object.fromEntries(names.map((name) => [name, patient(name)])), { references: ["good"] });
  const [good, crashes, exits, hangs, throws] = outcomes.map(({ notes }) => notes.join());
  assert.equal(outcomes[0]?.samples, [1, 1, 1]);
  assert.is(good, "");
  assert.is(crashes, "not timed: its process crashed (SIGSEGV): the driver gave up");
  assert.is(exits, "not timed: its process ended with code 3");
  assert.is(hangs, "not timed: it did not finish a run within 1 s");
  assert.is(throws, "not timed: op Gelu is not here");
});

test("a module that is missing is a reason, and a process that has ended stays ended", async () => {
  const missing = fakeProcess("missing");
  assert.match(await reasonOf(missing.open(job, 60)), /Cannot find module .*missing\.mjs/);
  await missing.end();
  assert.match(await reasonOf(missing.run(60)), /its process ended/);
});

test("a peer that is not installed is named with the command that installs it", async () => {
  assert.is(await reasonOf(importPeer("no-such-runtime")), "no-such-runtime is not installed; npm --prefix test/bench ci installs it");
});

const reasonOf = (work: Promise<unknown>): Promise<string> => work.then(
  () => "nothing was thrown",
  (error: unknown) => (error instanceof Error ? error.message : String(error)),
); // prettier-ignore

// --------------------------------------------------------------------------------------------------------- table

const settings = { model: "model", dtype: "f32", batch: 1 };
const outcome = (more: Partial<Outcome>): Outcome => ({ version: "1.0", adapter: "an adapter", load: 12.3456, first: 99.96, error: 1e-6, samples: [], notes: [], failed: false, ...more });

test("a row has the times of an outcome, and none where it failed", () => {
  const row = rowOf(runtime("vitc"), outcome({ samples: [10, 30, 20, 40.00049] }), settings);
  assert.equal(row, {
    runtime: "vitc", version: "1.0", adapter: "an adapter", ...settings, load_ms: 12.346, first_ms: 99.96, p50_ms: 25, p95_ms: 38.5, runs: 4, samples: [10, 30, 20, 40], error: 1e-6,
  }); // prettier-ignore
  const failed = rowOf(runtime("vitc"), { samples: [10], notes: ["not timed: it crashed", "and more"], failed: true }, settings);
  assert.equal(failed, {
    runtime: "vitc", version: null, adapter: null, ...settings, load_ms: null, first_ms: null, p50_ms: null, p95_ms: null, runs: 0, samples: [], error: null, note: "not timed: it crashed; and more",
  }); // prettier-ignore
});

test("the table compares each runtime with vitc on its host, and says what is missing", () => {
  const runtimes = [
    runtime("vitc", { baseline: true }),
    runtime("slow"),
    runtime("broken"),
    runtime("vitc, Chromium", { baseline: true, host: "chromium" }),
    runtime("onnxruntime-web, Chromium", { host: "chromium" }),
  ];
  const outcomes = [
    // The machine became slower after the first round.
    outcome({ samples: [10, 50, 50] }),
    outcome({ samples: [12345.6], adapter: "a CPU" }),
    { samples: [], notes: ["not timed: it crashed"], failed: true },
    outcome({ samples: [20] }),
    outcome({ samples: [5, 5, 5] }),
  ];
  const text = markdown(outcomes.map((given, i) => rowOf(runtimes[i]!, given, settings)), runtimes);
  assert.is(
    text,
    `| runtime, ms               | load | first |   p50 |   p95 | runs | vs vitc |
|---------------------------|-----:|------:|------:|------:|-----:|--------:|
| vitc                      | 12.3 |   100 |  50.0 |  50.0 |    3 |    1.00 |
| slow                      | 12.3 |   100 | 12346 | 12346 |    1 |    1235 |
| broken                    |    - |     - |     - |     - |    0 |       - |
| vitc, Chromium            | 12.3 |   100 |  20.0 |  20.0 |    1 |    1.00 |
| onnxruntime-web, Chromium | 12.3 |   100 |  5.00 |  5.00 |    3 |   0.250 |

- broken: not timed: it crashed

- on an adapter: vitc 1.0, vitc, Chromium 1.0, onnxruntime-web, Chromium 1.0
- on a CPU: slow 1.0`,
  );
  assert.ok(text.split("\n").every((line) => line.length <= 80));
});

// ------------------------------------------------------------------------------------------------------- options

test("options have defaults, and mistakes name what is allowed", () => {
  assert.equal(readOptions([]), { models: ["vit-tiny"], batch: 1, only: undefined, adapter: "auto", dtype: "f32", runs: undefined, seconds: 20, timeout: 300, chromium: undefined, json: undefined });
  const read = readOptions(["--models", "vit-small,vit-base", "--only", "vitc, jax", "--adapter", "software", "--runs", "2", "--json", "out.json"]);
  assert.ok("models" in read);
  assert.equal([read.models, read.only, read.adapter, read.runs, read.json], [["vit-small", "vit-base"], ["vitc", "jax"], "software", 2, "out.json"]);
  const fault = (...args: readonly string[]): string => {
    const answer = readOptions(args);
    return "fault" in answer ? answer.fault : "it was taken";
  };
  assert.is(fault("--model", "vit-tiny,resnet"), '--model vit-tiny,resnet: there is no "resnet"; there are vit-tiny, vit-small, vit-base');
  assert.match(fault("--only", "torch"), /there is no "torch"; there are vitc, /);
  assert.is(fault("--adapter", "gpu"), "--adapter gpu: it must be auto or software");
  assert.is(fault("--dtype", "int8"), "--dtype int8: it must be f32 or f16");
  assert.is(fault("--runs", "0"), "--runs 0: it must be a whole number from 1 on");
  assert.match(fault("--fast"), /Unknown option '--fast'/);
});

test.run();

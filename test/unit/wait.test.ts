/** Waiting for a software adapter: work that is soon done is not kept, work that takes long costs no core, and nothing is left behind. */
import { spawn } from "node:child_process";
import * as assert from "uvu/assert";
import { wait } from "../../runtime/node-wait.js";
import { suite } from "../tools/suite.js";

const test = suite("waiting");

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

const later = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

/** Callbacks for the next turn of the event loop: a loop has one as long as it lives. */
const loops = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "Immediate").length;

/** Waits until what has ended has had its last turns. */
async function settled(): Promise<number> {
  const until = performance.now() + 2000;
  while (loops() > 0 && performance.now() < until) await later(2);
  return loops();
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly printed: string;
  readonly complaints: string;
}

/** Runs a module of its own in a process of its own: it has `wait`, `later`, `spin` (Dawn's way of waiting) and `cpu` (milliseconds so far). */
function inProcess(body: string): Promise<Ended> {
  const code = `
    const { wait } = await import(${JSON.stringify(new URL("../../runtime/node-wait.ts", import.meta.url).href)});
    const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
    let [pending, turns, turning] = [0, 0, false];
    const turn = () => { turns++; turning = pending > 0; if (turning) setImmediate(turn); };
    const spin = async (work) => { pending++; if (!turning) turn(); try { return await work; } finally { pending--; } };
    const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
    ${body}`;
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), "--input-type=module", "--eval", code], { timeout: 30_000, killSignal: "SIGKILL", stdio: ["ignore", "pipe", "pipe"] });
    let [printed, complaints] = ["", ""];
    child.stdout.on("data", (data: Buffer) => (printed += data.toString("utf8")));
    child.stderr.on("data", (data: Buffer) => (complaints += data.toString("utf8")));
    child.on("error", fail);
    child.on("close", (exit, signal) => done({ code: exit, signal, printed, complaints }));
  });
}

/** What a process prints as JSON when all goes well with it. */
async function measured(body: string): Promise<unknown> {
  const { code, signal, printed, complaints } = await inProcess(body);
  assert.equal([code, signal], [0, null], complaints);
  return JSON.parse(printed);
}

test("the promise that is given is the one that comes back, with its value or its error", async () => {
  const work = Promise.resolve(3);
  assert.is(wait(work), work);
  assert.is(await wait(later(3).then(() => "done")), "done");
  const failure = new Error("the device is gone");
  for (const failing of [Promise.reject(failure), later(3).then(() => Promise.reject(failure))]) {
    const thrown: unknown = await wait(failing).catch((error: unknown) => error);
    assert.is(thrown, failure);
  }
  assert.is(await settled(), 0);
});

test("work that is soon done is not kept by a sleep", async () => {
  const times = async (make: () => Promise<unknown>): Promise<number> => {
    const taken: number[] = [];
    for (let i = 0; i < 100; i++) {
      const start = performance.now();
      await wait(make());
      taken.push(performance.now() - start);
    }
    return median(taken);
  };
  const atOnce = await times(() => Promise.resolve());
  const nextTurn = await times(() => new Promise(setImmediate));
  assert.ok(atOnce < 0.2, `done already: ${atOnce} ms`);
  // One sleep is a millisecond.
  assert.ok(nextTurn < 0.5, `done in the next turn: ${nextTurn} ms`);
  assert.is(await settled(), 0);
});

test("work that takes long is noticed within a few sleeps, and so are the other callbacks of the process", async () => {
  const long = Array.from({ length: 10 }, () => async (): Promise<number> => {
    const start = performance.now();
    await wait(later(20));
    return performance.now() - start - 20;
  });
  const late: number[] = [];
  for (const run of long) late.push(await run());
  assert.ok(median(late) < 5, `${median(late)} ms late`);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 4);
  await wait(later(200));
  clearInterval(timer);
  assert.ok(ticks >= 20, `${ticks} of 50 ticks`);
});

test("one loop turns for all that is pending, ends with the last of it, and begins again", async () => {
  assert.is(await settled(), 0);
  for (let round = 0; round < 3; round++) {
    const all = Array.from({ length: 200 }, (_, i) => wait(later(10 + (i % 20)).then(() => (i % 3 === 0 ? Promise.reject(new Error(String(i))) : i))));
    await later(5);
    assert.is(loops(), 1);
    const results = await Promise.allSettled(all);
    assert.is(results.filter(({ status }) => status === "rejected").length, 67);
    assert.is(await settled(), 0, `round ${round}`);
  }
  // Work that begins when other work has just ended is still waited for.
  await wait(Promise.resolve());
  const more = wait(later(10));
  await later(5);
  assert.is(loops(), 1);
  await more;
  assert.is(await settled(), 0);
});

test("300 ms of pending work take little of a core, although something else keeps the event loop turning", async () => {
  const body = (work: string): string => `
    await ${work}(later(20));
    const [before, turnsBefore] = [cpu(), turns];
    await ${work}(later(300));
    console.log(JSON.stringify([cpu() - before, turns - turnsBefore]));`;
  const both = "((work) => spin(wait(work)))";
  const [[napping, naps], [spinning, spins]] = [await measured(body(both)), await measured(body("spin"))] as [[number, number], [number, number]];
  assert.ok(napping < 100, `${napping} ms of a core`);
  // One a millisecond, and those of the time before the first sleep.
  assert.ok(naps < 1500, `${naps} turns`);
  // The same without waiting, so that the numbers above say something.
  assert.ok(spins > 10 * naps && spinning > 2 * napping, `${spinning} ms in ${spins} turns against ${napping} ms in ${naps}`);
});

test("a process ends by itself, at once, after many overlapping waits and rejections", async () => {
  const body = `
    const work = Array.from({ length: 1000 }, (_, i) => wait(later(i % 40).then(() => { if (i % 2 === 0) throw new Error("rejected"); })));
    const results = await Promise.allSettled(work);
    const end = performance.now();
    process.on("exit", () => console.log(JSON.stringify([results.filter(({ status }) => status === "rejected").length, performance.now() - end])));`;
  const [rejected, lasted] = (await measured(body)) as [number, number];
  assert.is(rejected, 500);
  assert.ok(lasted < 500, `it lived ${lasted} ms longer`);
});

test("a rejection raises no unhandledRejection of the loop's own, and no error is lost to whoever listens", async () => {
  const body = `
    const unhandled = [];
    process.on("unhandledRejection", (error) => unhandled.push(String(error)));
    const caught = [];
    for (const work of [Promise.reject(new Error("at once")), later(10).then(() => { throw new Error("later"); })]) {
      const waited = wait(work);
      await waited.catch((error) => caught.push(error.message));
      await waited.then(undefined, (error) => caught.push(error.message));
    }
    await later(20);
    console.log(JSON.stringify([caught, unhandled]));`;
  assert.equal(await measured(body), [["at once", "at once", "later", "later"], []]);
});

test("a process that never stops waiting is seen", async () => {
  const { code, printed } = await inProcess(`
    void wait(new Promise(() => {}));
    setTimeout(() => { console.log(process.getActiveResourcesInfo().includes("Immediate")); process.exit(7); }, 100);`);
  assert.is(code, 7);
  assert.is(printed.trim(), "true");
});

test.run();

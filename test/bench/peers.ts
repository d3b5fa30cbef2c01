/**
 * vitc beside the other runtimes of its kind: one machine, the same models, weights and images, one run of each in turn. What cannot run
 * here, or gives a wrong output, is a row that says so.
 *
 *   npm --prefix test/bench ci && npm run bench:peers [-- --model vit-tiny,vit-small --adapter software --json FILE]
 */
import { writeFileSync } from "node:fs";
import type { DType } from "../../runtime/plan.js";
import { temporaryFolder } from "../tools/packages.js";
import { prepareCase } from "./peers/case.js";
import { driverEnvironment, quiet } from "./peers/drivers.js";
import { readOptions, usage, type Options } from "./peers/options.js";
import { PeerProcess } from "./peers/protocol.js";
import { race } from "./peers/race.js";
import { runtimes } from "./peers/runtimes.js";
import { markdown, rowOf, type Row } from "./peers/table.js";

/** Implementations in f32 may be this far apart, times 1 + |reference|. Half precision is given more. */
const tolerance: Readonly<Record<DType, number>> = { f32: 1e-3, f16: 3e-2 };

/** The adapter that vitc takes here, asked in a process of its own. */
async function findAdapter(adapter: Options["adapter"]): Promise<string> {
  const probe = new PeerProcess(new URL("peers/drivers.ts", import.meta.url).href, quiet);
  try {
    return (await probe.open({ adapter }, 120)).adapter;
  } finally {
    await probe.end();
  }
}

async function raceModel(model: string, { batch, only, adapter, dtype, runs, seconds, timeout, chromium }: Options): Promise<{ readonly rows: readonly Row[]; readonly text: string }> {
  const say = (text: string): void => console.error(`${model}: ${text}`);
  const entered = runtimes.filter(({ name }) => only === undefined || only.includes(name));
  const own = await findAdapter(adapter).catch((error: unknown) => {
    say(`no adapter for vitc: ${error instanceof Error ? error.message : String(error)}`);
    return "";
  });
  // test/tools/chromium.ts looks for it there.
  const given = { ...quiet, ...(chromium !== undefined && { VITC_CHROMIUM: chromium }) };
  const drivers = await driverEnvironment(own);
  say(`compiling and exporting, for ${own}`);
  const job = await prepareCase({ model, batch, adapter, dtype, root: temporaryFolder("bench-peers") });
  const { outcomes, reference } = await race({
    runtimes: entered,
    job,
    start: ({ module, ownDawn }) => new PeerProcess(new URL(`peers/${module}`, import.meta.url).href, { ...given, ...(ownDawn === true && drivers) }),
    references: ["ort-cpu", "vitc"],
    tolerance: tolerance[dtype],
    lengths: runs === undefined ? { fewest: 3, most: 30, seconds } : { fewest: runs, most: runs, seconds: 0 },
    timeout,
    onProgress: say,
  });
  const rows = outcomes.map((outcome, i) => rowOf(entered[i]!, outcome, { model: job.name, dtype: entered[i]!.ours === true ? dtype : "f32", batch }));
  const worst = Math.max(...rows.map(({ error, p50_ms }) => (p50_ms === null ? 0 : (error ?? 0))));
  const text = `${job.name}, batch ${batch}, ${dtype}: milliseconds from images in memory to
logits in memory, "load" from files to a model that can run. "vs vitc" is the
median over vitc's in the same place, Node or Chromium, and the same rounds. The
largest |error| / (1 + |logit|) of what was timed, against
${reference ?? "nothing"}: ${worst.toExponential(1)}.

${markdown(rows, entered)}
`;
  return { rows, text };
}

const read = readOptions(process.argv.slice(2));
if ("fault" in read) {
  console.error(`${read.fault}\n\n${usage}`);
  process.exitCode = 1;
} else if ("help" in read) {
  console.log(usage);
} else {
  const rows: Row[] = [];
  for (const model of read.models) {
    const result = await raceModel(model, read);
    console.log(result.text);
    rows.push(...result.rows);
    // After each model: what is measured is kept whatever comes next.
    if (read.json !== undefined) writeFileSync(read.json, `${JSON.stringify(rows, null, 2)}\n`);
  }
}

/** What `vitc bench`, `vitc profile` and `vitc tune` share: their options, and the way from a folder to something that can be measured. */
import { InvalidArgumentError, Option } from "commander";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { adapterName, type AdapterInfo } from "../../runtime/device.js";
import { fromPath } from "../../runtime/node.js";
import type { Plan, WeightRecipe } from "../../runtime/plan.js";
import { toSource, type WeightsSource } from "../../runtime/weights.js";
import type { Peaks } from "../measure/peaks.js";
import { randomWeights } from "../measure/random-weights.js";
import { profileOf, type SubjectWeights } from "../measure/subject.js";
import { UserError } from "./context.js";
import { parseWhole } from "./options.js";
import { importPackage, type ImportedPackage } from "./run-package.js";

export interface MeasureOptions {
  readonly weights?: string;
  readonly robust?: boolean;
  readonly adapter: "auto" | "gpu" | "software";
  readonly runs?: number;
  readonly seconds: number;
  readonly json?: boolean;
}

const randomSeed = 1;
/** An hour; more is a slip of the finger. */
const mostSeconds = 3600;
const mostRuns = 100_000;

export const weightsOption = (): Option => new Option("-w, --weights <file|url>", "weight file (default: random values, which are as fast as any)");

export const adapterOption = (): Option => new Option("--adapter <which>", "auto takes a GPU, or else a software adapter and says so").choices(["auto", "gpu", "software"]).default("auto");

export const clockOption = (what: string): Option => new Option("--clock <which>", what).choices(["auto", "timestamps", "wall"]).default("auto");

export const runsOption = (what: string): Option =>
  new Option("--runs <n>", what).argParser((text: string) => {
    const runs = parseWhole(text);
    if (runs < 1 || runs > mostRuns) throw new InvalidArgumentError(`It must be from 1 to ${mostRuns}.`);
    return runs;
  });

export const secondsOption = (what: string, standard: number): Option =>
  new Option("--seconds <s>", what)
    .default(standard)
    .argParser((text: string) => {
      const seconds = Number(text);
      if (!/^\d*\.?\d+$/.test(text) || !(seconds > 0 && seconds <= mostSeconds)) throw new InvalidArgumentError(`It must be a number of seconds above 0, at most ${mostSeconds}.`);
      return seconds;
    })
    .conflicts("runs");

/** A package that is to be measured. */
export interface MeasuredPackage {
  /** As the user named it. */
  readonly name: string;
  readonly found: ImportedPackage;
  /** The weight file, or how the random weights are made. */
  readonly weightsName: string;
  /** New for each load. */
  weights(signal: AbortSignal): Promise<SubjectWeights>;
}

/** @throws UserError when the folder is no package. */
export async function openPackage(name: string, given: string | undefined, cwd: string): Promise<MeasuredPackage> {
  const found = await importPackage(name, cwd);
  if (given !== undefined) {
    // Two letters at least: C:\weights is a path.
    const isUrl = /^[a-z][a-z0-9+.-]+:/i.test(given);
    const weightsName = isUrl ? given : resolve(cwd, given);
    const open = (signal: AbortSignal): Promise<WeightsSource> => (isUrl ? toSource(given, { signal }) : fromPath(weightsName));
    return { name, found, weightsName, weights: async (signal) => ({ input: await open(signal), made: () => 0 }) };
  }
  const recipe = await importRecipe(found, name);
  return {
    name,
    found,
    weightsName: `random, seed ${randomSeed}`,
    async weights() {
      const { source, milliseconds } = randomWeights(recipe, randomSeed);
      return { input: source, made: milliseconds };
    },
  };
}

async function importRecipe({ folder }: ImportedPackage, name: string): Promise<WeightRecipe> {
  const { recipe } = (await import(pathToFileURL(join(folder, "weights.js")).href)) as { recipe?: WeightRecipe };
  if (!Array.isArray(recipe?.tensors)) throw new UserError(`${name}/weights.js exports no recipe for random weights: name a weight file with --weights, or compile the package again`);
  return recipe;
}

/** @throws UserError for a batch size that the package was not compiled for. */
export function expectBatch(name: string, plan: Plan, batch: number): void {
  if (profileOf(plan, batch) !== undefined) return;
  const sizes = plan.programs.infer.map((profile) => profile.batch);
  throw new UserError(`--batch ${batch}: ${name} was compiled for ${sizes.length === 1 ? "batch" : "batches"} ${sizes.join(", ")}; compile it for this one with: npx vitc compile SPEC --batch ${[...sizes, batch].toSorted((a, b) => a - b).join(",")} --out ${name}`);
}

export const randomNotice = (packages: readonly MeasuredPackage[]): readonly string[] =>
  packages.some(({ weightsName }) => weightsName.startsWith("random")) ? ["No --weights, so weights are random: times are those of trained ones, outputs mean nothing."] : [];

/** What the probes' self-check found. */
export function peakNotices({ compute, memory }: Peaks): readonly string[] {
  const unreliable = [["compute", compute] as const, ["memory", memory] as const].filter(([, { reliable }]) => !reliable);
  return unreliable.map(([what, { doubling }]) => `The ${what} probe is unreliable: twice its work took ${doubling.toFixed(2)} times as long, and should take 2. Shares of this peak mean little; measure again with nothing else running.`);
}

export const adapterText = (adapter: AdapterInfo): string => `${adapterName(adapter)}${adapter.software ? " (software)" : ""}`;

/** The adapter's measured peaks in a line. */
export const peaksText = ({ compute, memory, dispatchMicroseconds }: Peaks): string =>
  `peaks: ${digits(compute.rate / 1e9)} GFLOP/s, ${digits(memory.rate / 1e9)} GB/s, ${microseconds(dispatchMicroseconds)} a dispatch`;

/** Three significant digits, and whole numbers from 100 on. */
export const digits = (value: number): string => (value >= 99.95 ? Math.round(value).toLocaleString("en-US") : value === 0 ? "0" : value.toPrecision(3));

/** A time given in milliseconds; in the unit of `largest` where it stands beside that. */
export const milliseconds = (value: number, largest = value): string => (largest >= 10_000 ? `${digits(value / 1000)} s` : `${digits(value)} ms`);

/** A time given in microseconds. */
export const microseconds = (value: number): string => (value >= 10_000 ? milliseconds(value / 1000) : `${digits(value)} us`);

export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

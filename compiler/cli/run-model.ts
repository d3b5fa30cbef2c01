/** What `vitc run` and `vitc eval` share: the way from a package and a weight file to a model, and how they talk of it. */
import { InvalidArgumentError, Option } from "commander";
import { resolve } from "node:path";
import type { AdapterInfo, Model, Progress } from "../../runtime/codegen.js";
import { adapterName } from "../../runtime/device.js";
import type { DType } from "../../runtime/plan.js";
import type { Cli } from "./context.js";
import { parseWhole } from "./options.js";
import { findWeights, type AnyOutputs, type ImportedPackage } from "./run-package.js";

export interface ModelOptions {
  readonly weights?: string;
  readonly adapter: "auto" | "gpu" | "software";
  readonly dtype?: DType;
  readonly robust?: boolean;
  readonly allowExtra?: boolean;
}

/** `--top 5`. */
export const topOption = (what: string): Option => new Option("--top <n>", what).argParser(parseTop).default(5);

function parseTop(text: string): number {
  const top = parseWhole(text);
  if (top < 1) throw new InvalidArgumentError("It must be at least 1.");
  return top;
}

/**
 * The weight file, absolute, or the URL as it is: what `--weights` names, or what lies in the package.
 * @throws UserError when none is named and the package does not hold exactly one.
 */
export function weightsOf(weights: string | undefined, found: ImportedPackage, cwd: string): Promise<string> | string {
  if (weights === undefined) return findWeights(found, cwd);
  return isUrl(weights) ? weights : resolve(cwd, weights);
}

/** Two letters at least: C:\weights is a path. */
export const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(text);

/** Loads the model behind a line of progress. */
export async function loadModel(cli: Cli, found: ImportedPackage, weights: string, { adapter, dtype, robust, allowExtra = false }: ModelOptions, onNotice: (notice: string) => void): Promise<Model<AnyOutputs>> {
  const line = cli.progress(`Loading ${found.plan.name}`);
  try {
    // Kernels and weights come one after the other, and which takes longer depends on the adapter: half the way each.
    const halves: Readonly<Record<Progress["stage"], readonly [start: number, detail: string]>> = { device: [0, "(device)"], pipelines: [0, "(kernels)"], weights: [0.5, "(weights)"] };
    const onProgress = ({ stage, loaded, total }: Progress): void => line.update(halves[stage][0] + (stage === "device" ? 0 : loaded / Math.max(1, total) / 2), halves[stage][1]);
    return await found.load({ weights, adapter, ...(dtype && { dtype }), ...(robust && { robust }), allowExtra, onProgress, onNotice, signal: cli.signal });
  } finally {
    line.done();
  }
}

export const describeAdapter = (adapter: AdapterInfo): string => `${adapterName(adapter)}${adapter.software ? " (software)" : ""}`;

export const duration = (seconds: number): string => (seconds < 1 ? `${(seconds * 1000).toPrecision(3)} ms` : `${seconds.toFixed(1)} s`);

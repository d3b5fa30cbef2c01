import { InvalidArgumentError, Option } from "commander";
import type { Chosen } from "../../runtime/choose.js";
import type { DType } from "../../runtime/plan.js";
import { withSizes } from "../spec/image.js";
import { parseSpec } from "../spec/parse.js";

/** `--json`, which every command has. */
export const jsonOption = (): Option => new Option("--json", "print the result as JSON (vitc schema tells its shape)");

/** `--batch 1,8`: batch sizes to compile for, instead of the spec's. */
export const batchOption = (): Option => new Option("--batch <sizes>", "batch sizes to compile for, as 1,8 (default: the spec's)").argParser(parseSizes);

/** `--dtype f32,f16`: dtypes to compile for, instead of the spec's. */
export const dtypesOption = (what = "how to store matrices, in the order of preference, as f16,f32 (default: the spec's)"): Option => new Option("--dtype <types>", what).argParser(parseDtypes);

export function parseDtypes(text: string): readonly DType[] {
  const types = text.split(",");
  const known = types.filter((type): type is DType => type === "f32" || type === "f16");
  if (known.length < types.length || new Set(types).size < types.length) throw new InvalidArgumentError("Write f32, f16, or both with a comma between them.");
  return known;
}

/** `--dtype f16`: one of those that a spec or package has. */
export const dtypeOption = (what: string): Option => new Option("--dtype <type>", what).choices(["f32", "f16"]);

/** `--image 336x448`: another image size than the spec's, height first. */
export const imageOption = (): Option => new Option("--image <size>", "images of another size than the spec's, as 336, or 336x448 (height first); positions are resampled").argParser(parseSize);

/** `--patch 24`: another patch size than the spec's, height first. */
export const patchOption = (): Option => new Option("--patch <size>", "patches of another size than the spec's, as 24, or 24x16 (height first); the patch embedding is resampled").argParser(parseSize);

function parseSize(text: string): readonly [number, number] {
  const [, height, width] = /^(\d{1,5})(?:x(\d{1,5}))?$/i.exec(text) ?? [];
  if (height === undefined) throw new InvalidArgumentError("Write pixels: one number, or height x width, as 336x448.");
  return [Number(height), Number(width ?? height)];
}

/** What a command line says instead of the spec. */
export interface Overrides {
  readonly batch?: readonly number[] | undefined;
  readonly dtype?: readonly DType[] | DType | undefined;
  readonly image?: readonly [number, number] | undefined;
  readonly patch?: readonly [number, number] | undefined;
}

/**
 * A spec with another image or patch size, other batch sizes and dtypes than its own.
 * @throws SpecError when the spec is none
 */
export function withOverrides(spec: unknown, { batch, dtype, image, patch }: Overrides): unknown {
  if (typeof spec !== "object" || spec === null) return spec;
  return { ...(image === undefined && patch === undefined ? spec : withSizes(parseSpec(spec), { image, patch })), ...(batch && { batch }), ...(dtype && { dtype }) };
}

function parseSizes(text: string): readonly number[] {
  if (!/^\d{1,9}(,\d{1,9})*$/.test(text)) throw new InvalidArgumentError("Write whole numbers with commas between them, as 1,8.");
  return text.split(",").map(Number);
}

/** A whole number from 0 on. */
export function parseWhole(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidArgumentError(`It must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`);
  return value;
}

/** `--robust`. */
export const robustOption = (): Option => new Option("--robust", "have the driver check every index of a kernel, as browsers do");

/** `--skip-broken`: images that cannot be read are left out instead of ending the run. */
export const skipBrokenOption = (): Option => new Option("--skip-broken", "leave out images that cannot be read, and say so");

/** What decided how routines are done: `tuned 9, cost 3`; routines that can be done in one way alone are left out. */
export const decidedText = ({ tuned, cost, only }: Readonly<Record<Chosen["by"], number>>): string =>
  [["tuned", tuned] as const, ["cost", cost] as const].filter(([, count]) => count > 0).map(([by, count]) => `${by} ${count}`).join(", ") || `only way ${only}`;

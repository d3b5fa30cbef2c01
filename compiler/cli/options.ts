import { InvalidArgumentError, Option } from "commander";

/** `--json`, which every command has. */
export const jsonOption = (): Option => new Option("--json", "print the result as JSON (vitc schema tells its shape)");

/** `--batch 1,8`: batch sizes to compile for, instead of the spec's. */
export const batchOption = (): Option => new Option("--batch <sizes>", "batch sizes to compile for, as 1,8 (default: the spec's)").argParser(parseSizes);

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

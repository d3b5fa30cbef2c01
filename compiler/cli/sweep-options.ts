/** What the options of `vitc sweep` may say. */
import { InvalidArgumentError } from "commander";
import type { Shard } from "../sweep/variants.js";

/** A week; more is a slip of the finger. */
const mostMilliseconds = 7 * 24 * 3_600_000;
const milliseconds = { s: 1000, m: 60_000, h: 3_600_000 } as const;

/** `10m`, `90s`, `1.5h`: milliseconds. */
export function parseBudget(text: string): number {
  const [, count, unit = "s"] = /^(\d+(?:\.\d+)?)\s*(s|m|h)?(?:in|ec)?$/i.exec(text) ?? [];
  const budget = Number(count) * milliseconds[unit.toLowerCase() as keyof typeof milliseconds];
  if (!(budget > 0 && budget <= mostMilliseconds)) throw new InvalidArgumentError("Write a time above 0, at most a week, as 90s, 10m or 1.5h.");
  return budget;
}

/** `2/8`: the second of eight parts. */
export function parseShard(text: string): Shard {
  const [, part, of] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const shard = { part: Number(part), of: Number(of) };
  if (!(shard.part >= 1 && shard.part <= shard.of)) throw new InvalidArgumentError("Write which part of how many, as 1/4 for the first of four.");
  return shard;
}

/** Milliseconds as somebody would say them: `40 s`, `12 min`, `3.5 h`. */
export function duration(time: number): string {
  if (time < 90_000) return `${Math.max(1, Math.round(time / 1000))} s`;
  return time < 5_400_000 ? `${Math.round(time / 60_000)} min` : `${(time / 3_600_000).toFixed(1)} h`;
}

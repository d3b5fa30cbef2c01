/** The options of `npm run bench:peers`. */
import { parseArgs } from "node:util";
import type { DType } from "../../../runtime/plan.js";
import { runtimes } from "./runtimes.js";

/** Models to race, by their short name: examples in specs/. */
export const models: Readonly<Record<string, string>> = {
  "vit-tiny": "vit-tiny-patch16-224",
  "vit-small": "vit-small-patch16-224",
  "vit-base": "vit-base-patch16-224",
};

export const usage = `npm run bench:peers [-- OPTIONS]

  --model NAMES      of ${Object.keys(models).join(", ")}; several with commas (vit-tiny)
  --batch N          images in a run (1)
  --only NAMES       some of ${runtimes.map(({ name }) => name).join(", ")}
  --adapter WISH     auto: what the machine has; software: what vitc's tests use (auto)
  --dtype TYPE       how vitc stores matrices, f32 or f16; peers have f32 (f32)
  --runs N           runs of each, instead of the next three
  --seconds N        each runs until its runs took this long together (20) ...
                     ... but at least 3 times and at most 30
  --timeout N        seconds for a load, and for a run (300)
  --chromium FILE    a Chromium to use instead of the packed one
  --json FILE        write the rows as JSON
`;

export interface Options {
  readonly models: readonly string[];
  readonly batch: number;
  readonly only: readonly string[] | undefined;
  readonly adapter: "auto" | "software";
  readonly dtype: DType;
  readonly runs: number | undefined;
  readonly seconds: number;
  readonly timeout: number;
  readonly chromium: string | undefined;
  readonly json: string | undefined;
}

/** The options, or that help is wanted, or what is wrong with an option and what is allowed. */
export function readOptions(args: readonly string[]): Options | { readonly help: true } | { readonly fault: string } {
  try {
    return parse(args);
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) };
  }
}

function parse(args: readonly string[]): Options | { readonly help: true } {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ args: [...args], options: { model: text, models: text, batch: text, only: text, adapter: text, dtype: text, runs: text, seconds: text, timeout: text, chromium: text, json: text, help: { type: "boolean" } } });
  if (values.help === true) return { help: true };
  const list = (option: string, value: string, allowed: readonly string[]): readonly string[] => {
    const names = value.split(",").map((name) => name.trim());
    const unknown = names.find((name) => !allowed.includes(name));
    if (unknown !== undefined) throw new Error(`--${option} ${value}: there is no "${unknown}"; there are ${allowed.join(", ")}`);
    return [...new Set(names)];
  };
  const whole = (option: string, value: string | undefined): number | undefined => {
    if (value !== undefined && !/^[1-9]\d{0,5}$/.test(value)) throw new Error(`--${option} ${value}: it must be a whole number from 1 on`);
    return value === undefined ? undefined : Number(value);
  };
  const adapter = values.adapter ?? "auto";
  if (adapter !== "auto" && adapter !== "software") throw new Error(`--adapter ${adapter}: it must be auto or software`);
  const dtype = values.dtype ?? "f32";
  if (dtype !== "f32" && dtype !== "f16") throw new Error(`--dtype ${dtype}: it must be f32 or f16`);
  return {
    models: list("model", values.model ?? values.models ?? "vit-tiny", Object.keys(models)),
    batch: whole("batch", values.batch) ?? 1,
    only: values.only === undefined ? undefined : list("only", values.only, runtimes.map(({ name }) => name)),
    adapter,
    dtype,
    runs: whole("runs", values.runs),
    seconds: whole("seconds", values.seconds) ?? 20,
    timeout: whole("timeout", values.timeout) ?? 300,
    chromium: values.chromium,
    json: values.json,
  };
}

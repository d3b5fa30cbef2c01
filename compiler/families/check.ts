import type { z } from "zod";
import { nearest, show, SpecError, type SpecIssue } from "../spec/errors.js";

/** What an input is called in messages. */
export interface Named {
  /** Where it stands: `model_args`. Fields are named from here. */
  readonly at: string;
  /** What its fields are: `an argument of timm's Eva`. */
  readonly field: string;
}

/**
 * A file's or a user's object with the shape of a schema, defaults filled in.
 * @throws SpecError with a sentence a field: its value, what is allowed, and the nearest name of one that is unknown.
 */
export function checked<Shape extends z.ZodRawShape>(schema: z.ZodObject<Shape>, input: unknown, named: Named): z.output<z.ZodObject<Shape>> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const known = Object.keys(schema.shape);
  throw new SpecError(result.error.issues.flatMap((issue) => sentences(issue, input, named, known)));
}

function sentences(issue: z.core.$ZodIssue, input: unknown, { at, field }: Named, known: readonly string[]): SpecIssue[] {
  const where = [at, ...issue.path].join(".");
  const value = issue.path.reduce<unknown>((v, key) => (typeof v === "object" && v !== null ? (v as Record<PropertyKey, unknown>)[key] : undefined), input);
  const said = (message: string): SpecIssue[] => [{ field: where, message }];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => {
        if (issue.path.length > 0) return { field: `${where}.${key}`, message: "is not a field" };
        const near = nearest(key, known);
        return { field: `${where}.${key}`, message: `is not ${field}; ${near ? `did you mean \`${near}\`? K` : "k"}nown are ${known.join(", ")}` };
      });
    case "invalid_type":
      return said(`${value === undefined ? "is missing; it must be" : `${show(value)} is not`} ${kinds[issue.expected] ?? issue.expected}`);
    case "invalid_union":
      return said(`${show(value)} is none of what it may be: ${[...new Set(issue.errors.flat().map((e) => (e.code === "invalid_type" ? (kinds[e.expected] ?? e.expected) : e.code === "invalid_value" ? e.values.map(show).join(" or ") : e.message)))].join(", or ")}`);
    case "invalid_value":
      return said(`${show(value)} is not one of ${issue.values.map(show).join(", ")}`);
    case "too_small":
      return said(`${show(value)} is too small; it must be ${issue.inclusive ? "at least" : "more than"} ${issue.minimum}`);
    case "too_big":
      return said(`${show(value)} is too large; it must be ${issue.inclusive ? "at most" : "less than"} ${issue.maximum}`);
    default:
      return said(`${show(value)}: ${issue.message}`);
  }
}

const kinds: Readonly<Record<string, string>> = { int: "a whole number", number: "a number", string: "text", boolean: "true or false", array: "a list", tuple: "a pair", object: "an object", record: "an object" };

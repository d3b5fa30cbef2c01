import type { z } from "zod";
import { listedIssues, longestName, nearest, show, SpecError, type SpecIssue } from "./errors.js";
import { specSchema } from "./schema.js";
import type { ViTSpec } from "./types.js";

/**
 * Checks that `input` has the shape of a spec. What the fields mean together is checked by `resolve`.
 * @throws SpecError with one issue a field: its value, what is allowed, and the nearest fix.
 */
export function parseSpec(input: unknown): ViTSpec {
  const result = specSchema.safeParse(input);
  if (result.success) return result.data;
  throw new SpecError(result.error.issues.flatMap((issue) => explain(issue, input)));
}

type Issue = z.core.$ZodIssue;

function explain(issue: Issue, input: unknown): SpecIssue[] {
  const field = issue.path.length === 0 ? "spec" : issue.path.join(".");
  const value = at(input, issue.path);
  const message = (text: string): SpecIssue[] => [{ field, message: text }];
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = knownKeys(issue.path);
      return issue.keys.map((key, i) => {
        // Only the first issues are listed, so no more of them need the search for what was meant.
        const near = i < listedIssues ? nearest(key, known) : undefined;
        return {
          field: [...issue.path, key.length > longestName ? `${key.slice(0, longestName)}...` : key].join("."),
          message: near ? `is not a field; did you mean \`${near}\`?` : `is not a field; the fields here are ${known.join(", ")}`,
        };
      });
    }
    case "invalid_type":
      return message(wrongType(issue.expected, value));
    // Beyond 2^53 zod complains of a whole number twice, and only the field's own bounds are of use.
    case "too_small":
      if (issue.minimum === Number.MIN_SAFE_INTEGER) return [];
      return message(`${show(value)} is too small; it must be ${issue.inclusive ? "at least" : "more than"} ${issue.minimum}${unit(issue.origin)}`);
    case "too_big":
      if (issue.maximum === Number.MAX_SAFE_INTEGER) return [];
      return message(`${show(value)} is too large; it must be ${issue.inclusive ? "at most" : "less than"} ${issue.maximum}${unit(issue.origin)}`);
    case "invalid_value": {
      const allowed = issue.values.map(String);
      const near = typeof value === "string" ? nearest(value, allowed) : undefined;
      const quoted = allowed.map((v) => `"${v}"`).join(", ");
      return message(value === undefined ? `is missing; it must be one of ${quoted}` : `${show(value)} is not one of ${quoted}${near ? `; did you mean "${near}"?` : ""}`);
    }
    case "invalid_format":
      return message(`${show(value)} is not a name; use letters, digits, dots${issue.path[0] === "outputNames" ? " and underscores, starting with a letter or underscore" : ", dashes and underscores, starting with a letter or digit"}`);
    case "invalid_key":
      return [{ field: issue.path.slice(0, -1).join("."), message: `${show(issue.path.at(-1))} is longer than the name of any output` }];
    case "invalid_union":
      return explainUnion(issue, value, field);
    default:
      return message(`${show(value)}: ${issue.message}`);
  }
}

/** Of a union (a number or a list), explains the branch that the value was meant for. */
function explainUnion(issue: Extract<Issue, { code: "invalid_union" }>, value: unknown, field: string): SpecIssue[] {
  const list = Array.isArray(value);
  const branch = issue.errors.find((errors) => errors.some((e) => (e.path.length > 0) === list || (list && e.code !== "invalid_type"))) ?? issue.errors[0]!;
  const pair = issue.errors.flat().some((e) => e.code === "invalid_type" && e.expected === "tuple") || sizes.test(field);
  const words = issue.errors.flat().flatMap((e) => (e.code === "invalid_value" && e.path.length === 0 ? e.values.map(String) : []));
  if (words.length > 0 && !isMeantFor(issue, value)) return [{ field, message: wrongWord(issue, value, words) }];
  if (!list && typeof value !== "number") return [{ field, message: `${wrongType("number", value)}${pair ? ", or [height, width]" : ", or a list of numbers"}` }];
  if (list && pair && value.length !== 2) return [{ field, message: `${show(value)} has ${value.length} entries; write one number, or [height, width]` }];
  return branch.flatMap((e) => explain({ ...e, path: [] } as Issue, at(value, e.path)).map((i) => ({ field: [field, ...e.path].join("."), message: i.message })));
}

/** Fields that are one number or [height, width]. */
const sizes = /(^|\.)(image|patch|resize|reference|grid)$/;

/** Whether some branch of a union takes what the value is, a number or a list, if it only were another one. */
function isMeantFor({ errors }: Extract<Issue, { code: "invalid_union" }>, value: unknown): boolean {
  if (Array.isArray(value)) return errors.flat().some((e) => e.path.length > 0 || ("origin" in e && e.origin === "array"));
  return typeof value === "number" && errors.flat().some((e) => e.path.length === 0 && (e.code === "too_small" || e.code === "too_big" || (e.code === "invalid_type" && (e.expected === "number" || e.expected === "int"))));
}

/** Of a union in which a few words have a place. */
function wrongWord(issue: Extract<Issue, { code: "invalid_union" }>, value: unknown, words: readonly string[]): string {
  const others: Readonly<Record<string, string>> = { int: "a whole number", number: "a number", boolean: "true or false", tuple: "[height, width]", array: "a list" };
  const allowed = [...words.map((word) => `"${word}"`), ...issue.errors.flat().flatMap((e) => (e.code === "invalid_type" && others[e.expected] !== undefined ? [others[e.expected]!] : []))];
  const near = typeof value === "string" ? nearest(value, words) : undefined;
  return `${show(value)} is not one of ${allowed.join(", ")}${near !== undefined ? `; did you mean "${near}"?` : ""}`;
}

function wrongType(expected: string, value: unknown): string {
  const wanted = { int: "a whole number", number: "a number", string: "text", boolean: "true or false", array: "a list", object: "an object", record: "an object" }[expected] ?? expected;
  if (value === undefined) return `is missing; it must be ${wanted}`;
  if (expected === "int" && typeof value === "number" && Number.isFinite(value)) return `${value} is not a whole number; the nearest are ${Math.floor(value)} and ${Math.ceil(value)}`;
  if (typeof value === "number" && !Number.isFinite(value)) return `${value} is not a usable number; it must be ${wanted}`;
  if (typeof value === "string" && (expected === "int" || expected === "number")) {
    const number = Number(value);
    return value.trim() !== "" && Number.isFinite(number) ? `${show(value)} is text; write the number ${number}` : `${show(value)} is text; it must be ${wanted}`;
  }
  return `${show(value)} is not ${wanted}`;
}

const unit = (origin: string): string => (origin === "string" ? " characters" : origin === "array" ? " entries" : "");

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((v, key) => (typeof v === "object" && v !== null ? (v as Record<PropertyKey, unknown>)[key] : undefined), value);
}

/** The fields of the object at `path` in the schema. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema: unknown = specSchema;
  for (const key of path) {
    const definition = unwrap(schema);
    schema = typeof key === "number" ? definition.element : definition.shape?.[String(key)];
  }
  return Object.keys(unwrap(schema).shape ?? {});
}

interface Definition { readonly shape?: Record<string, unknown>; readonly element?: unknown; readonly innerType?: unknown }

function unwrap(schema: unknown): Definition {
  let definition = (schema as { def?: Definition } | undefined)?.def ?? {};
  while (definition.innerType) definition = (definition.innerType as { def: Definition }).def;
  return definition;
}

import { z } from "zod";
import { specSchema } from "../../compiler/spec/schema.js";

/** A field of the spec's schema, by its path: `mlp.ratio`, `stem[].kernel`. */
export interface SchemaField {
  readonly path: string;
  /** What `.describe` says of it. */
  readonly description: string | undefined;
  /** The values of an enumeration, a boolean, or a choice with some; empty for anything else. */
  readonly values: readonly (string | boolean)[];
  /** Whether the field is an object, or a list of them, whose fields are listed too. */
  readonly nested: boolean;
}

/** Every field of the schema, nested ones behind the field that holds them. */
export function schemaFields(schema: z.ZodType = specSchema, prefix = ""): SchemaField[] {
  const { object } = inside(schema);
  if (!object) return [];
  return Object.entries(object.shape).flatMap(([key, value]) => {
    const field = value as z.ZodType;
    const path = prefix ? `${prefix}.${key}` : key;
    const nested = inside(field);
    return [{ path, description: field.description, values: valuesOf(field), nested: nested.object !== undefined }, ...schemaFields(field, `${path}${nested.suffix}`)];
  });
}

/** The object in a schema, and `[]` if it is an element of a list. */
function inside(schema: z.ZodType): { readonly object?: z.ZodObject; readonly suffix: string } {
  const bare = unwrap(schema);
  if (bare instanceof z.ZodObject) return { object: bare, suffix: "" };
  if (!(bare instanceof z.ZodArray)) return { suffix: "" };
  const element = unwrap(bare.element as z.ZodType);
  return element instanceof z.ZodObject ? { object: element, suffix: "[]" } : { suffix: "" };
}

function valuesOf(schema: z.ZodType): readonly (string | boolean)[] {
  const bare = unwrap(schema);
  if (bare instanceof z.ZodBoolean) return [true, false];
  if (bare instanceof z.ZodUnion) return (bare.options as z.ZodType[]).flatMap(valuesOf);
  if (bare instanceof z.ZodLiteral) return [...bare.values].filter((value) => typeof value === "string");
  return bare instanceof z.ZodEnum ? (bare.options as string[]) : [];
}

function unwrap(schema: z.ZodType): z.ZodType {
  let bare = schema;
  while (bare instanceof z.ZodOptional || bare instanceof z.ZodReadonly) bare = bare.unwrap() as z.ZodType;
  return bare;
}

/** Every value that a spec gives to the field at a path of `schemaFields`. */
export function drawn(spec: unknown, path: string): unknown[] {
  let values: unknown[] = [spec];
  for (const part of path.split(".")) {
    const [key, list] = part.endsWith("[]") ? [part.slice(0, -2), true] : [part, false];
    values = values.flatMap((value) => (typeof value === "object" && value !== null && key in value ? [(value as Record<string, unknown>)[key]] : []));
    if (list) values = values.flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : []));
  }
  return values.filter((value) => value !== undefined);
}

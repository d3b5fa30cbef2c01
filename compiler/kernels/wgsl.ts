/** WGSL text. Only the functions here make it, so a stray JavaScript value cannot slip into a shader. */
export type Wgsl = string & { readonly wgsl: unique symbol };

/** Joins a template with its holes. Text is dedented, and a hole of several lines is indented like the place where it stands. */
export function wgsl(strings: TemplateStringsArray, ...holes: readonly (Wgsl | readonly Wgsl[])[]): Wgsl {
  let text = strings[0]!;
  holes.forEach((hole, i) => {
    const body = typeof hole === "string" ? hole : (hole as readonly Wgsl[]).join("\n");
    // Most holes are of one line, and most of the time from spec to plan is spent here.
    const indented = body.includes("\n") ? body.replaceAll("\n", `\n${/^[ \t]*/.exec(text.slice(text.lastIndexOf("\n") + 1))![0]}`) : body;
    text += indented + strings[i + 1]!;
  });
  return dedent(text) as Wgsl;
}

const space = 32;

function dedent(text: string): string {
  const lines = text.replace(/^\n/, "").trimEnd().split("\n");
  let shared = 80;
  for (const line of lines) {
    let spaces = 0;
    while (line.charCodeAt(spaces) === space) spaces++;
    if (spaces < shared && line.trim() !== "") shared = spaces;
  }
  return lines
    .map((line) => line.slice(shared).trimEnd())
    .join("\n")
    .replace(/\n{3,}/g, "\n\n");
}

/** A whole number as a WGSL literal. */
export function u32(value: number): Wgsl {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new RangeError(`${value} is not a u32`);
  return `${value}u` as Wgsl;
}

/** A number as a WGSL literal, with all the digits that f32 needs. */
export function f32(value: number): Wgsl {
  if (!Number.isFinite(Math.fround(value))) throw new RangeError(`${value} is not a finite f32`);
  const text = String(Math.fround(value));
  return (/[.e]/.test(text) ? text : `${text}.0`) as Wgsl;
}

/** A number as a part of a name: different numbers, different text, whatever stands beside it. */
export const spelt = (value: number): string => `${value}`.replace("e-", "em").replace("e+", "e").replace("-", "m").replace(".", "p");

/** A name or expression made of checked parts. */
export const raw = (text: string): Wgsl => text as Wgsl;

export const empty: Wgsl = "" as Wgsl;

export const lines = (parts: readonly Wgsl[]): Wgsl => parts.filter((part) => part !== "").join("\n") as Wgsl;

/** 0, 1, ..., count - 1: for unrolled code. */
export const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);

/** How wide a row of data may get before it is broken into lines. */
const rowWidth = 200;

/**
 * A value as a TypeScript literal a person can read: objects and lists on one line when they fit, else one entry a line.
 * Rows of a table (dispatches, packed tensors) come out one a line.
 */
export function printData(value: unknown, indent = ""): string {
  const inline = printInline(value);
  const isRow = typeof value === "object" && value !== null && !Array.isArray(value) && ("kernel" in value || "routine" in value || "costs" in value || "sources" in value || "bindings" in value);
  if (inline.length + indent.length <= rowWidth || isRow || typeof value !== "object" || value === null) return inline;
  const inner = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((entry) => `${inner}${printData(entry, inner)},\n`).join("")}${indent}]`;
  return `{\n${Object.entries(value)
    .map(([key, entry]) => `${inner}${printKey(key)}: ${printData(entry, inner)},\n`)
    .join("")}${indent}}`;
}

function printInline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(printInline).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, entry]) => `${printKey(key)}: ${printInline(entry)}`);
    return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
  }
  return JSON.stringify(value);
}

export const printKey = (key: string): string => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key));

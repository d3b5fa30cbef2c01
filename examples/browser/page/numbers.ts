/** Numbers as people read them. */

/** Three digits and a unit. */
export function duration(milliseconds: number): string {
  const [value, unit] = milliseconds >= 9999.5 ? [milliseconds / 1000, "s"] : milliseconds >= 0.9995 ? [milliseconds, "ms"] : [milliseconds * 1000, "µs"];
  return `${digits(value)} ${unit}`;
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export const megabytes = (bytes: number): string => `${digits(bytes / 1e6)} MB`;

/** 1.2 k, 3.45 M, 6.7 G. */
export function short(value: number): string {
  const step = [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const;
  const [factor, unit] = step.find(([factor]) => value >= factor) ?? [1, ""];
  return `${digits(value / factor)} ${unit}`.trimEnd();
}

const digits = (value: number): string => (value === 0 ? "0" : value >= 99.95 ? value.toFixed(0) : value.toPrecision(3));

/** The value below which a share of all lies, between neighbours by their distance (the median for 0.5). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? NaN, sorted[Math.ceil(at)] ?? NaN];
  return low + (high - low) * (at - Math.floor(at));
}

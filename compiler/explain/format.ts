/** Numbers as a person reads them. */

/** `2,515,345`. */
export const count = (n: number): string => n.toLocaleString("en-US");

/** Three significant digits with a decimal prefix: `2.51 G`. */
export function short(n: number): string {
  const [divisor, prefix] = ([[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const).find(([from]) => n >= from) ?? ([1, ""] as const);
  return `${digits(n / divisor)} ${prefix}`.trimEnd();
}

/** `2.51 GFLOP`. */
export function flops(n: number): string {
  const text = short(n);
  return text.includes(" ") ? `${text}FLOP` : `${text} FLOP`;
}

/** Three significant digits with a binary unit: `1.35 MiB`. */
export function bytes(n: number): string {
  const [divisor, unit] = ([[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]] as const).find(([from]) => n >= from) ?? ([1, "B"] as const);
  return `${digits(n / divisor)} ${unit}`;
}

/** `92.3 %`, and `< 0.1 %` for what would round to nothing. */
export function percent(share: number): string {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(share * 100).toFixed(1)} %`;
}

/** `3 x 224 x 224`, with the sign that the medium has for it. */
export const by = (sizes: readonly number[], sign = "x"): string => sizes.join(` ${sign} `);

/** `1 kernel`, `2 kernels`. */
export const plural = (n: number, noun: string): string => `${count(n)} ${noun}${n === 1 ? "" : /(?:ch|s)$/.test(noun) ? "es" : "s"}`;

function digits(n: number): string {
  if (Number.isInteger(n) && n < 1000) return String(n);
  return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

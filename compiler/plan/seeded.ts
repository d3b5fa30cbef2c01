/** The numbers of runtime/seeded.ts, which the compiler does not import; a test holds both equal. */

/**
 * Values of a tensor by name, each by its index: activations in [-1, 1); weights so that sums neither grow nor vanish, with positive variances and
 * scales near 1. All are exact in f32.
 */
export function seededValue(name: string, shape: readonly number[], what: "activation" | "parameter"): (index: number) => number {
  const fan = shape.slice(1).reduce((product, n) => product * n, 1);
  let [centre, spread] = [0, 1];
  if (what === "parameter") {
    if (/var$/.test(name)) [centre, spread] = [1.5, 1];
    else if (shape.length < 2) [centre, spread] = /(weight|gamma|scale)/.test(name) ? [1, 0.25] : [0, 0.5];
    else spread = Math.sqrt(3 / fan);
  }
  let key = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) key = Math.imul(key ^ name.charCodeAt(i), 0x01000193);
  return (i) => Math.fround(centre + spread * hash(key, i));
}

/** From -1 to 1, by one round of murmur3's finalizer. */
function hash(key: number, i: number): number {
  let h = key ^ Math.imul(i + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) | 0) / 2 ** 31;
}

/** The f16 (IEEE 754 binary16) nearest to a value that f16 can hold, ties to even. */
export function roundToHalf(value: number): number {
  if (value === 0) return value;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), -14) - 10);
  const floor = Math.floor(value / unit);
  const rest = value / unit - floor;
  return (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor) * unit;
}

import { demand, elements, last, map, sameShape, zeros, type Primitive } from "./op.js";

/** Functions of one number. `gelu` is exact; see `spec/types.ts` for the others. */
export type ActivationKind = "gelu" | "gelu_tanh" | "quick_gelu" | "relu" | "sigmoid" | "silu" | "tanh";

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const functions: Record<ActivationKind, (x: number) => number> = {
  gelu: (x) => (x / 2) * erfc(-x / Math.SQRT2),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  quick_gelu: (x) => x * sigmoid(1.702 * x),
  relu: (x) => Math.max(x, 0),
  sigmoid,
  silu: (x) => x * sigmoid(x),
  tanh: Math.tanh,
};

/** An activation function, elementwise. */
export const activation: Primitive<{ readonly kind: ActivationKind }> = {
  infer: ([x]) => x!,
  flops: ([x], { kind }) => (kind === "relu" ? 1 : 10) * elements(x!),
  evaluate: ([x], { kind }) => map(x!, functions[kind]),
};

/** a + b. An axis on which b has size 1 is repeated. */
export const add: Primitive<Record<never, never>> = {
  infer([a, b]) {
    demand(a !== undefined && b?.length === a.length && b.every((size, i) => size === a[i] || size === 1), () => `add: ${a} and ${b}`);
    return a;
  },
  flops: ([a]) => elements(a!),
  evaluate([a, b]) {
    if (sameShape(a!.shape, b!.shape)) return map(a!, (x, i) => x + b!.data[i]!);
    const strides = b!.shape.map((size, i) => (size === 1 ? 0 : elements(b!.shape.slice(i + 1))));
    return map(a!, (x, i) => {
      let [rest, at] = [i, 0];
      for (let axis = a!.shape.length - 1; axis >= 0; axis--) {
        at += (rest % a!.shape[axis]!) * strides[axis]!;
        rest = Math.floor(rest / a!.shape[axis]!);
      }
      return x + b!.data[at]!;
    });
  },
};

/** a * b, of one shape. */
export const multiply: Primitive<Record<never, never>> = {
  infer([a, b]) {
    demand(a !== undefined && b !== undefined && sameShape(a, b), () => `multiply: ${a} and ${b}`);
    return a;
  },
  flops: ([a]) => elements(a!),
  evaluate: ([a, b]) => map(a!, (x, i) => x * b!.data[i]!),
};

/** x * factor. */
export const scale: Primitive<{ readonly factor: number }> = {
  infer: ([x]) => x!,
  flops: ([x]) => elements(x!),
  evaluate: ([x], { factor }) => map(x!, (value) => value * factor),
};

/** x [..., width] times a factor for each element of the last axis [width]: LayerScale. */
export const scaleLast: Primitive<Record<never, never>> = {
  infer([x, gamma]) {
    demand(x !== undefined && gamma?.length === 1 && gamma[0] === last(x), () => `scaleLast: x ${x} and factors ${gamma}`);
    return x;
  },
  flops: ([x]) => elements(x!),
  evaluate: ([x, gamma]) => map(x!, (value, i) => value * gamma!.data[i % gamma!.data.length]!),
};

/** In training each element is zeroed with probability `rate`, the others are divided by 1 - rate. The identity at inference. */
export const dropout: Primitive<{ readonly rate: number }> = {
  infer: ([x]) => x!,
  evaluate: ([x], { rate }, { random }) => (random ? map(x!, (value) => (random() < rate ? 0 : value / (1 - rate))) : x!),
};

/**
 * DropPath (stochastic depth), the notes' formula: in training each sample of x [batch, ...] is multiplied by
 * floor(keep + U[0, 1)) / keep with keep = 1 - rate. The identity at inference.
 */
export const dropPath: Primitive<{ readonly rate: number }> = {
  infer: ([x]) => x!,
  evaluate([x], { rate }, { random }) {
    if (!random || rate === 0) return x!;
    const keep = 1 - rate;
    const factors = Array.from({ length: x!.shape[0]! }, () => Math.floor(keep + random()) / keep);
    const sample = elements(x!.shape.slice(1));
    return map(x!, (value, i) => value * factors[Math.floor(i / sample)]!);
  },
};

/** Repeats x [1, ...] along the first axis: [batch, ...]. */
export const expand: Primitive<{ readonly batch: number }> = {
  infer([x], { batch }) {
    demand(x?.[0] === 1, () => `expand: ${x} has no axis of size 1 in front`);
    return [batch, ...x.slice(1)];
  },
  evaluate([x], { batch }) {
    const out = zeros([batch, ...x!.shape.slice(1)]);
    for (let b = 0; b < batch; b++) out.data.set(x!.data, b * x!.data.length);
    return out;
  },
};

/**
 * The complementary error function in f64, relative error below 1e-14: a Taylor series for |x| < 1.5 (beyond, 1 - erf cancels), a continued
 * fraction elsewhere.
 */
export function erfc(x: number): number {
  const z = Math.abs(x);
  if (z < 1.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 100; n++) {
      term *= -(x * x) / n;
      const next = term / (2 * n + 1);
      sum += next;
      if (Math.abs(next) < 1e-18 * Math.abs(sum)) break;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  // erfc(z) = exp(-z²) / sqrt(pi) * 1 / (z + (1/2) / (z + 1 / (z + (3/2) / (z + ...)))), evaluated from the inside out.
  let fraction = z;
  for (let n = 80; n >= 1; n--) fraction = z + n / 2 / fraction;
  const tail = Math.exp(-z * z) / Math.sqrt(Math.PI) / fraction;
  return x > 0 ? tail : 2 - tail;
}

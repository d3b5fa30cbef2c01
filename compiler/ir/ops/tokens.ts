import { demand, elements, last, sameShape, zeros, type Primitive } from "./op.js";

/** Tensors one after the other along `axis`. */
export const concat: Primitive<{ readonly axis: number }> = {
  infer(inputs, { axis }) {
    const [first] = inputs;
    const others = (shape: readonly number[]) => shape.filter((_, i) => i !== axis);
    demand(first !== undefined && axis < first.length && inputs.every((shape) => sameShape(others(shape), others(first))), () => `concat on axis ${axis}: ${inputs.join(" ")}`);
    return first.map((size, i) => (i === axis ? inputs.reduce((sum, shape) => sum + shape[axis]!, 0) : size));
  },
  evaluate(inputs, attrs) {
    const out = zeros(concat.infer(inputs.map((x) => x.shape), attrs));
    const outer = elements(out.shape.slice(0, attrs.axis));
    let at = 0;
    for (let o = 0; o < outer; o++)
      for (const x of inputs) {
        const run = x.data.length / outer;
        out.data.set(x.data.subarray(o * run, (o + 1) * run), at);
        at += run;
      }
    return out;
  },
};

/** Tokens start to end (exclusive) of x [batch, tokens, width]. */
export const sliceTokens: Primitive<{ readonly start: number; readonly end: number }> = {
  infer([x], { start, end }) {
    demand(x?.length === 3 && start >= 0 && end > start && end <= x[1]!, () => `sliceTokens ${start} to ${end} of ${x}`);
    return [x[0]!, end - start, x[2]!];
  },
  touched: (_inputs, _attrs, output) => [elements(output)],
  evaluate([x], { start, end }) {
    const [batch, tokens, width] = x!.shape as [number, number, number];
    const out = zeros([batch, end - start, width]);
    for (let b = 0; b < batch; b++) out.data.set(x!.data.subarray((b * tokens + start) * width, (b * tokens + end) * width), b * (end - start) * width);
    return out;
  },
};

/** Token `index` of x [batch, tokens, width] -> [batch, width]. */
export const token: Primitive<{ readonly index: number }> = {
  infer([x], { index }) {
    demand(x?.length === 3 && index < x[1]!, () => `token ${index} of ${x}`);
    return [x[0]!, x[2]!];
  },
  touched: (_inputs, _attrs, output) => [elements(output)],
  evaluate([x], { index }) {
    const { data } = sliceTokens.evaluate([x!], { start: index, end: index + 1 }, {});
    return { shape: [x!.shape[0]!, x!.shape[2]!], data };
  },
};

/** Values start to end (exclusive) of the last axis. */
export const sliceLast: Primitive<{ readonly start: number; readonly end: number }> = {
  infer([x], { start, end }) {
    demand(x !== undefined && x.length > 0 && start >= 0 && end > start && end <= last(x), () => `sliceLast ${start} to ${end} of ${x}`);
    return [...x.slice(0, -1), end - start];
  },
  touched: (_inputs, _attrs, output) => [elements(output)],
  evaluate([x], attrs) {
    const out = zeros(sliceLast.infer([x!.shape], attrs));
    const [width, kept] = [last(x!.shape), last(out.shape)];
    for (let row = 0; row * width < x!.data.length; row++) out.data.set(x!.data.subarray(row * width + attrs.start, row * width + attrs.end), row * kept);
    return out;
  },
};

/** One token an image: x [batch, width] -> [batch, 1, width]. */
export const asTokens: Primitive<Record<never, never>> = {
  infer([x]) {
    demand(x?.length === 2, () => `asTokens: ${x}`);
    return [x[0]!, 1, x[1]!];
  },
  evaluate: ([x]) => ({ shape: asTokens.infer([x!.shape], {}), data: x!.data }),
};

/** Tokens of zeros in front: x [batch, tokens, width] -> [batch, start + tokens, width]. */
export const padTokens: Primitive<{ readonly start: number }> = {
  infer([x], { start }) {
    demand(x?.length === 3 && start >= 0, () => `padTokens: ${start} in front of ${x}`);
    return [x[0]!, start + x[1]!, x[2]!];
  },
  evaluate([x], attrs) {
    const out = zeros(padTokens.infer([x!.shape], attrs));
    const [batch, tokens, width] = x!.shape as [number, number, number];
    for (let b = 0; b < batch; b++) out.data.set(x!.data.subarray(b * tokens * width, (b + 1) * tokens * width), (b * (tokens + attrs.start) + attrs.start) * width);
    return out;
  },
};

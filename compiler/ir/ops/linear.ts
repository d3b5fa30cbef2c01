import { demand, elements, last, sameShape, zeros, type Primitive } from "./op.js";

/** x [..., in] times weight [out, in] transposed, plus an optional bias [out] -> [..., out]: PyTorch's linear. */
export const linear: Primitive<Record<never, never>> = {
  infer([x, w, bias]) {
    demand(x !== undefined && w?.length === 2 && last(x) === w[1], () => `linear: x ${x} and weight ${w} do not fit`);
    demand(bias === undefined || (bias.length === 1 && bias[0] === w[0]), () => `linear: bias ${bias} for weight ${w}`);
    return [...x.slice(0, -1), w[0]!];
  },
  flops: ([x, w]) => 2 * elements(x!) * w![0]!,
  evaluate([x, w, bias]) {
    const out = zeros(linear.infer([x!.shape, w!.shape], {}));
    const [n, k] = w!.shape as [number, number];
    const rows = elements(x!.shape) / k;
    for (let r = 0; r < rows; r++)
      for (let j = 0; j < n; j++) {
        let sum = bias ? bias.data[j]! : 0;
        for (let i = 0; i < k; i++) sum += x!.data[r * k + i]! * w!.data[j * k + i]!;
        out.data[r * n + j] = sum;
      }
    return out;
  },
};

/** Matrices a [batch, heads, n, k] times b [batch, heads, k, m], or, with transposeB, b [batch, heads, m, k] -> [batch, heads, n, m]. */
export const matmul: Primitive<{ readonly transposeB: boolean }> = {
  infer([a, b], { transposeB }) {
    demand(a?.length === 4 && b?.length === 4 && sameShape(a.slice(0, 2), b.slice(0, 2)), () => `matmul: ${a} and ${b}`);
    const [k, m] = transposeB ? [b[3]!, b[2]!] : [b[2]!, b[3]!];
    demand(a[3] === k, () => `matmul: ${a} and ${b} share no inner size`);
    return [...a.slice(0, 3), m];
  },
  flops: ([a], _attrs, output) => 2 * elements(output) * last(a!),
  evaluate([a, b], attrs) {
    const out = zeros(matmul.infer([a!.shape, b!.shape], attrs));
    const [batch, heads, n, m] = out.shape as [number, number, number, number];
    const k = last(a!.shape);
    const [strideK, strideM] = attrs.transposeB ? [1, k] : [m, 1];
    for (let h = 0; h < batch * heads; h++)
      for (let i = 0; i < n; i++)
        for (let j = 0; j < m; j++) {
          let sum = 0;
          for (let c = 0; c < k; c++) sum += a!.data[(h * n + i) * k + c]! * b!.data[h * k * m + c * strideK + j * strideM]!;
          out.data[(h * n + i) * m + j] = sum;
        }
    return out;
  },
};

/**
 * One of the `parts` (default 3: q, k, v) of a packed projection [batch, tokens, parts * heads * headDim], as heads
 * [batch, heads, tokens, headDim].
 */
export const splitHeads: Primitive<{ readonly heads: number; readonly part: number; readonly parts?: number }> = {
  infer([x], { heads, part, parts = 3 }) {
    demand(x?.length === 3 && x[2]! % (parts * heads) === 0 && part < parts, () => `splitHeads: part ${part} of ${x} into ${parts} x ${heads} heads`);
    return [x[0]!, heads, x[1]!, x[2]! / (parts * heads)];
  },
  evaluate([x], attrs) {
    const out = zeros(splitHeads.infer([x!.shape], attrs));
    const [batch, heads, tokens, width] = out.shape as [number, number, number, number];
    const { part, parts = 3 } = attrs;
    let at = 0;
    for (let b = 0; b < batch; b++)
      for (let h = 0; h < heads; h++)
        for (let n = 0; n < tokens; n++) for (let c = 0; c < width; c++) out.data[at++] = x!.data[(((b * tokens + n) * parts + part) * heads + h) * width + c]!;
    return out;
  },
};

/** Heads [batch, heads, tokens, headDim] side by side: [batch, tokens, heads * headDim]. */
export const mergeHeads: Primitive<Record<never, never>> = {
  infer([x]) {
    demand(x?.length === 4, () => `mergeHeads: ${x}`);
    return [x[0]!, x[2]!, x[1]! * x[3]!];
  },
  evaluate([x]) {
    const out = zeros(mergeHeads.infer([x!.shape], {}));
    const [batch, heads, tokens, width] = x!.shape as [number, number, number, number];
    let at = 0;
    for (let b = 0; b < batch; b++)
      for (let n = 0; n < tokens; n++) for (let h = 0; h < heads; h++) for (let c = 0; c < width; c++) out.data[at++] = x!.data[((b * heads + h) * tokens + n) * width + c]!;
    return out;
  },
};

import type { ResolvedSpec } from "./resolve.js";

/**
 * What decides the numbers that a model computes from the same weights and an input tensor, as text: equal for specs that differ in names, labels,
 * batches, dtypes, dropout, the preparation of photographs or the tensors that are returned besides.
 */
export function computationOf(spec: ResolvedSpec): string {
  const { name: _name, labels: _labels, batch: _batch, dtype: _dtype, dropout: _dropout, outputs: _outputs, outputNames: _outputNames, geometry: _geometry, layerScale, preprocess: { mean, std, normalize }, ...rest } = spec;
  // A model that normalises by itself is given other pixels; the initial value of LayerScale is overwritten by weights.
  return JSON.stringify({ ...rest, layerScale: layerScale !== undefined, pixels: normalize === "inside" ? { mean, std } : "normalised" }, sortedKeys);
}

/** Fields in one order, however an object was made. */
const sortedKeys = (_key: string, value: unknown): unknown => (typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value);

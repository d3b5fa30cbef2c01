/** vitc: declare a Vision Transformer, compile it to a WebGPU package. */
export { compile, type CompileOptions, type Package } from "./compile.js";
export { explain } from "./explain/explain.js";
export { html } from "./explain/html.js";
export type { Report } from "./explain/report.js";
export { defineViT } from "./spec/define.js";
export { SpecError, type SpecIssue } from "./spec/errors.js";
export { resolve, type Geometry, type ResolvedSpec } from "./spec/resolve.js";
export { specJsonSchema } from "./spec/schema.js";
export type { Activation, AttentionSpec, DropoutSpec, MlpSpec, NormSpec, PatchResampleSpec, PositionSpec, PreprocessSpec, RelativeResampleSpec, ResampleSpec, Size, StemLayer, TokensSpec, ViTSpec } from "./spec/types.js";
export { defineSweep, type AxesSweep, type FieldPath, type ModelsSweep, type StaticColumns, type Sweep } from "./sweep/define.js";
export type { SweepModel } from "./sweep/model.js";
export type { Predictor } from "./sweep/predictor.js";
export { columnsOf, type Cell, type Column, type Row } from "./sweep/row.js";
export { sweepPage, type SweepPageOptions } from "./sweep/page/index.js";
export { scatterSvg, svgToPng, tokensSvg, type ScatterOptions } from "./sweep/page/scatter.js";
export { sweep, type SweepOptions, type SweepProgress } from "./sweep/sweep.js";
export { version } from "./version.js";

/** timm's models by name and by config.json. */
export { timmConfigSchema, timmConfigSpec } from "./config.js";
export type { TimmModel } from "./models.js";
export { listTimm, timmArguments, timmSpec, type TimmEntry, type TimmOptions, type TimmTag } from "./spec.js";

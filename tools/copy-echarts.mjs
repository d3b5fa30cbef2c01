/**
 * Puts ECharts, as it is published for pages, beside the module that reads it in `dist`: one script of 1.1 MB in vitc instead of a dependency of
 * 60. Part of `npm run build`.
 */
import { copyFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

// .cjs: in a package of modules a script that is required must say so.
copyFileSync(createRequire(import.meta.url).resolve("echarts/dist/echarts.min.js"), fileURLToPath(new URL("../dist/compiler/sweep/page/echarts.min.cjs", import.meta.url)));

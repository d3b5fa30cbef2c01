import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type * as ECharts from "echarts";

const require = createRequire(import.meta.url);
// Beside this module where it is published: see tools/copy-echarts.mjs.
const beside = fileURLToPath(new URL("echarts.min.cjs", import.meta.url));
const file = existsSync(beside) ? beside : "echarts/dist/echarts.min.js";

/** ECharts as it is published for pages: one script with its licence, which defines the global `echarts`. */
export function libraryText(): string {
  return readFileSync(require.resolve(file), "utf8").replaceAll("\r\n", "\n");
}

/**
 * Draws an option of ECharts as SVG. The same option gives the same text.
 * @param width @param height in pixels
 */
export function drawSvg(option: ECharts.EChartsOption, width: number, height: number): string {
  const { init } = require(file) as typeof ECharts;
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption(option);
    // What is for pages that listen to the plot: rules for hovering, whose classes count the charts of the process, and indices of data.
    return chart
      .renderToSVGString()
      .replaceAll(/<style[ >][\s\S]*?<\/style>\n?/g, "")
      .replaceAll(/ (?:class="zr\d[^"]*"|ecmeta_\w+="[^"]*"|pointer-events="[^"]*")/g, "")
      .replaceAll(/\bzr\d+-/g, "zr-");
  } finally {
    chart.dispose();
  }
}

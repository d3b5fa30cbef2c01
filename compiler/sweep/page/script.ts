import { axisOf, columnOf, extentOf, groupName, isWide, legendOf, tickText } from "./client/axes.js";
import { comparisonOf, parseFilter } from "./client/filter.js";
import { cellOf, cellText, codeLetters, compareCells, scattered, titleOf, unpackFrame, valuesOf } from "./client/frame.js";
import { readData, startPage } from "./client/page.js";
import { mostLines, parallelChart, passing, ticksOf } from "./client/parallel-chart.js";
import { frontOf, frontsOf, pointsOf, readingOf } from "./client/points.js";
import { bandSeries, colored, groupsOf, readingTitle, rowOf, scatterChart } from "./client/scatter-chart.js";
import { drawTable, element, sortRows } from "./client/table.js";
import { colorAt, coloringOf, shadesOf, themeOf } from "./client/theme.js";
import { leastByX, tokensChart } from "./client/tokens-chart.js";

/** Everything that runs in the page. A test compiles the script, so a function that is missing here turns it red. */
const functions = [
  [axisOf, columnOf, extentOf, groupName, isWide, legendOf, tickText],
  [comparisonOf, parseFilter],
  [cellOf, cellText, codeLetters, compareCells, scattered, titleOf, unpackFrame, valuesOf],
  [frontOf, frontsOf, pointsOf, readingOf],
  [colorAt, coloringOf, shadesOf, themeOf],
  [bandSeries, colored, groupsOf, readingTitle, rowOf, scatterChart],
  [leastByX, tokensChart],
  [mostLines, parallelChart, passing, ticksOf],
  [drawTable, element, sortRows],
  [readData, startPage],
].flat();

/**
 * The page's script: the functions of `client/`, each by its own text, and a call. They are the same that draw the command line's plots and
 * that unit tests call, and the type checker has seen them.
 */
export function script(): string {
  // esbuild, by which tests run the sources, names inner functions through a helper of this name.
  return ["\"use strict\";", "const __name = (named) => named;", ...functions.map(String), "readData().then((data) => startPage(globalThis.echarts, data)).catch((error) => {", "  const said = document.getElementById('broken');", "  said.hidden = false;", "  said.textContent = 'This page could not be drawn: ' + error;", "  throw error;", "});", ""].join("\n");
}

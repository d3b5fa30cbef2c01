/**
 * What a higher resolution costs, and why: a sweep from a script. It needs no GPU: everything in it follows from the specs.
 *
 *   npx tsx examples/resolution.ts
 *
 * Writes examples/resolution.svg, and examples/resolution.html to look around in.
 */
import { writeFileSync } from "node:fs";
import { columnsOf, sweep, sweepPage, tokensSvg, type AxesSweep, type Row } from "../compiler/index.js";
import definition from "../specs/sweeps/resolution.js";

const rows: Row[] = [];
for await (const row of sweep(definition)) rows.push(row);
rows.sort((a, b) => a.tokens! - b.tokens!);

console.log("image  patch   tokens       GMACs  attention");
for (const row of rows) {
  const cells = [String(row["image"]).padStart(5), String(row["patch"]).padStart(6), row.tokens!.toLocaleString("en-US").padStart(9), row.gmacs!.toFixed(2).padStart(12), `${(100 * row.attention_share!).toFixed(1)} %`.padStart(10)];
  // Four variants are beyond what a binding of WebGPU holds. Their graphs are counted all the same; they have no plan, so no memory and no time.
  console.log(`${cells.join(" ")}${row.failed === null ? "" : "   counted, not runnable"}`);
}

const columns = columnsOf(Object.keys((definition as AxesSweep).axes));
writeFileSync(new URL("resolution.svg", import.meta.url), tokensSvg(rows, columns, { y: "gmacs", color: "image" }));
writeFileSync(new URL("resolution.html", import.meta.url), await sweepPage(rows, columns, { title: "What a resolution costs", x: "tokens", y: "gmacs", color: "image" }));

/**
 * A sweep from a script: twelve small models, what each costs, and how fast each is on this machine's adapter.
 *
 *   npx tsx examples/sweep.ts
 */
import { defineSweep, sweep, type Row } from "../compiler/index.js";

const definition = defineSweep({
  base: { name: "cifar", image: 32, patch: 4, dim: 192, depth: 6, heads: 3, classes: 10 },
  axes: { depth: [3, 6], dim: [64, 128, 192], patch: [4, 8] },
  derive: { heads: (spec) => spec.dim / 64 },
});

const rows: Row[] = [];
for await (const row of sweep(definition, { adapter: "auto", seconds: 0.5, budget: 120_000 })) {
  rows.push(row);
  console.log(`${row.name.padEnd(30)} ${row.failed ?? `${row.params_m?.toFixed(2)} M parameters, ${row.gmacs?.toFixed(3)} GMACs, ${row.p50_ms === null ? "not measured" : `${row.p50_ms.toFixed(1)} ms`}`}`);
}
const fastest = rows.filter(({ p50_ms }) => p50_ms !== null).sort((a, b) => a.p50_ms! - b.p50_ms!)[0];
console.log(`\nthe fastest of ${rows.length}: ${fastest?.name ?? "none was measured"}`);

/** What a pass makes of a small graph, as text. */
import * as assert from "uvu/assert";
import { GraphBuilder, type Graph, type Value } from "../../compiler/ir/graph.js";
import { print } from "../../compiler/ir/print.js";
import { runPasses } from "../../compiler/passes/index.js";
import type { Pass, PassEvent } from "../../compiler/passes/pass.js";
import { distance, passTolerance } from "./distance.js";

/** A graph from a function that makes its nodes and names its outputs. */
export function graph(make: (b: GraphBuilder) => Record<string, Value>): Graph {
  const builder = new GraphBuilder("test");
  for (const [name, value] of Object.entries(make(builder))) builder.output(name, value);
  return builder.build();
}

/** Runs a pass on a graph that prints as `before`; the result must print as `after`, and mean the same. */
export function expectRewrite(pass: Pass, input: Graph, before: string, after: string): PassEvent[] {
  assert.is(print(input), dedent(before));
  const { graph: output, events } = runPasses(input, [pass]);
  assert.is(print(output), dedent(after));
  assert.ok(distance(input, output) <= passTolerance);
  return [...events];
}

/** A graph that a pass leaves as it is, and the reason that it gives, if it gives one. */
export function expectDeclined(pass: Pass, input: Graph, reason?: string): void {
  const { graph: output, events } = runPasses(input, [pass]);
  assert.is(print(output), print(input));
  assert.equal(events.map((event) => [event.fired, event.reason]), reason === undefined ? [] : [[false, reason]]);
}

const dedent = (text: string): string => `${text.trim().split("\n").map((line) => line.trim()).join("\n")}\n`;

/** The attributes of a plain matrix product. */
export const product = { source: { kind: "rows" }, bias: false, activation: "none", residual: false } as const;

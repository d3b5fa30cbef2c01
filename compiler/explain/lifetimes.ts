import type { Profile, View } from "../../runtime/plan.js";
import type { Graph, Value } from "../ir/graph.js";
import { IrError } from "../ir/ops/op.js";
import { dispatchNodes } from "./coverage.js";

/** A value in activation memory. See `LifetimeReport` for the meaning of `from` and `to`. */
export interface Lifetime {
  readonly value: Value;
  /** The dispatch that writes it. */
  readonly from: number;
  readonly to: number;
  readonly view: View;
  readonly inPlace: boolean;
  readonly outputs: readonly string[];
}

/**
 * When each value of a profile lies where, in the order in which they are written.
 * @param lowered the graph behind the profile, or behind another batch size of the same plan: views come from the profile, readers from the graph.
 * @throws IrError if the graph is not the profile's.
 */
export function lifetimes(profile: Profile, lowered: Graph): readonly Lifetime[] {
  const nodes = dispatchNodes(lowered);
  if (nodes.length !== profile.dispatches.length) throw new IrError(`${lowered.name}: ${nodes.length} nodes for ${profile.dispatches.length} dispatches`);
  const living = new Map<Value, { from: number; to: number; view: View; inPlace: boolean }>();
  nodes.forEach((node, i) => {
    const views = profile.dispatches[i]!.views;
    // The result is the last binding of every kernel.
    const view = views[views.length - 1]!;
    let inPlace = false;
    for (const input of node.inputs) {
      const read = living.get(input);
      if (!read) continue;
      const takenOver = read.view[0] === view[0] && read.view[1] < view[1] + view[2] && view[1] < read.view[1] + read.view[2];
      inPlace ||= takenOver;
      read.to = takenOver ? i - 1 : Math.max(read.to, i);
    }
    living.set(node.output, { from: i, to: i, view, inPlace });
  });
  for (const { value } of lowered.outputs) {
    const read = living.get(value);
    if (read) read.to = nodes.length;
  }
  return [...living].map(([value, life]) => ({ value, ...life, outputs: lowered.outputs.filter((output) => output.value === value).map(({ name }) => name) }));
}

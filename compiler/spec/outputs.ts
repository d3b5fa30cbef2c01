/** Every name that `outputs` may hold for a model of this depth, in the order in which a run produces them. */
export function optionalOutputs(depth: number): string[] {
  return ["embed", ...blockNames(depth), "norm", "tokens", "features", "logits_cls", "logits_dist"];
}

const blockNames = (depth: number): string[] => Array.from({ length: depth }, (_, i) => `blocks.${i}`);

/** Requested outputs with `blocks.*` written out, in the order of the computation: a package lists them so, whatever the spec's order. */
export function expandOutputs(requested: readonly string[], depth: number): string[] {
  const wanted = new Set([...new Set(requested)].flatMap((name) => (name === "blocks.*" ? blockNames(depth) : [name])));
  const order = new Map(optionalOutputs(depth).map((name, i) => [name, i]));
  return [...wanted].sort((a, b) => (order.get(a) ?? -1) - (order.get(b) ?? -1));
}

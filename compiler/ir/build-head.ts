import type { Value } from "./graph.js";
import type { ModelBuilder } from "./model-builder.js";

/** Tokens [B, N, D] -> what the head reads [B, features]: pooled, with the last norm if it stands there, and the representation layer. */
export function features(g: ModelBuilder, x: Value): Value {
  const { spec } = g;
  let y = pooled(g, x);
  if (spec.finalNorm === "pooled") y = g.norm(y, "fc_norm");
  if (spec.representation === 0) return y;
  return g.activation(g.linear(y, "pre_logits.fc", spec.representation), "tanh", "pre_logits.act");
}

/** timm's `global_pool_nlc` and `AttentionPoolLatent`. */
function pooled(g: ModelBuilder, x: Value): Value {
  const { spec, geometry } = g;
  const start = spec.poolPrefix ? 0 : geometry.prefix;
  // The tokens that are pooled, taken when they are wanted.
  const patches = (): Value => (start > 0 ? g.node("sliceTokens", { start, end: geometry.tokens }, [x], "pool") : x);
  const reduced = (kind: "avg" | "max", of: Value): Value => g.node("reduce", { kind }, [of], spec.pool === kind ? "pool" : `pool.${kind}`);
  switch (spec.pool) {
    case "token":
      return g.node("token", { index: 0 }, [x], "pool");
    case "avg":
    case "max":
      return reduced(spec.pool, patches());
    case "avgmax": {
      const of = patches();
      return g.node("scale", { factor: 0.5 }, [g.node("add", {}, [reduced("avg", of), reduced("max", of)], "pool.add")], "pool.mean");
    }
    case "tokenavg":
      return g.node("concat", { axis: 1 }, [g.node("token", { index: 0 }, [x], "pool.token"), reduced("avg", patches())], "pool");
    case "map":
      return latentPool(g, patches());
    case "none":
      throw new Error("a model without pooling has no features");
    default:
      return spec.pool satisfies never;
  }
}

/** A learned query attends to tokens x [B, N, D], and an MLP with a norm of its own follows: timm's `AttentionPoolLatent`, SigLIP's head. */
function latentPool(g: ModelBuilder, x: Value): Value {
  const { spec, batch } = g;
  const { dim, mapPool: { heads, hidden }, mlp, norm } = spec;
  const name = "attn_pool";
  const latent = g.parameter(`${name}.latent`, [1, 1, dim]);
  const query = g.node("weightLinear", {}, [latent, g.parameter(`${name}.q.weight`, [dim, dim]), g.parameter(`${name}.q.bias`, [dim])], `${name}.q`);
  const q = g.node("splitHeads", { heads, part: 0, parts: 1 }, [g.node("expand", { batch }, [query], `${name}.q.expand`)], `${name}.q.heads`);
  const kv = g.linear(x, `${name}.kv`, 2 * dim);
  const [k, v] = [0, 1].map((part) => g.node("splitHeads", { heads, part, parts: 2 }, [kv], `${name}.${"kv"[part]}`)) as [Value, Value];
  const scaled = g.node("scale", { factor: (dim / heads) ** -0.5 }, [q], `${name}.scale`);
  const weights = g.node("softmax", {}, [g.node("matmul", { transposeB: true }, [scaled, k], `${name}.scores`)], `${name}.softmax`);
  const merged = g.node("mergeHeads", {}, [g.node("matmul", { transposeB: false }, [weights, v], `${name}.mix`)], `${name}.merge`); // [B, 1, D]
  const y = g.linear(g.node("token", { index: 0 }, [merged], `${name}.token`), `${name}.proj`, dim);
  const inner = g.activation(g.linear(g.norm(y, `${name}.norm`, norm), `${name}.mlp.fc1`, hidden), mlp.activation, `${name}.mlp.act`);
  return g.node("add", {}, [y, g.linear(inner, `${name}.mlp.fc2`, dim)], `${name}.add`);
}

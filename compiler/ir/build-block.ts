import { attention, mixed } from "./build-attention.js";
import type { Value } from "./graph.js";
import type { ModelBuilder } from "./model-builder.js";

/** One encoder block of x [B, N, D]: timm's `Block`, `ResPostBlock`, `ParallelScalingBlock` or `ParallelThingsBlock`. */
export function encoderBlock(g: ModelBuilder, x: Value, i: number): Value {
  const { block, depth, dropout } = g.spec;
  const name = `blocks.${i}`;
  // DropPath rates rise linearly from 0 in the first block to the spec's in the last: torch.linspace(0, rate, depth).
  const rate = depth > 1 ? (dropout.path * i) / (depth - 1) : 0;
  /** x plus a branch, scaled and dropped by chance. */
  const residual = (branch: Value, where: string, scaleName = `${name}.ls${where}`): Value =>
    g.node("add", {}, [x, g.dropPath(g.layerScale(branch, scaleName), rate, `${name}.drop_path${where}`)], `${name}.add${where}`);
  switch (block) {
    case "pre":
      x = residual(attention(g, g.norm(x, `${name}.norm1`), `${name}.attn`, i), "1");
      return residual(mlp(g, g.norm(x, `${name}.norm2`), `${name}.mlp`), "2");
    case "post":
      x = residual(g.norm(attention(g, x, `${name}.attn`, i), `${name}.norm1`), "1");
      return residual(g.norm(mlp(g, x, `${name}.mlp`), `${name}.norm2`), "2");
    case "parallel":
      return residual(parallelBranches(g, x, i), "", `${name}.ls`);
    case "parallelThings": {
      const attentions = [0, 1].map((j) => ({ where: `${name}.attns.${j}`, y: attention(g, g.norm(x, `${name}.attns.${j}.norm`), `${name}.attns.${j}.attn`, i) }));
      for (const { where, y } of attentions) x = g.node("add", {}, [x, g.dropPath(g.layerScale(y, `${where}.ls`), rate, `${where}.drop_path`)], `${where}.add`);
      const mlps = [0, 1].map((j) => ({ where: `${name}.ffns.${j}`, y: mlp(g, g.norm(x, `${name}.ffns.${j}.norm`), `${name}.ffns.${j}.mlp`) }));
      for (const { where, y } of mlps) x = g.node("add", {}, [x, g.dropPath(g.layerScale(y, `${where}.ls`), rate, `${where}.drop_path`)], `${where}.add`);
      return x;
    }
    default:
      return block satisfies never;
  }
}

function mlp(g: ModelBuilder, x: Value, name: string): Value {
  const { mlp, dim, dropout } = g.spec;
  let hidden = g.dropout(hiddenLayer(g, x, name), dropout.projection, `${name}.drop1`); //               [B, N, hidden]
  if (mlp.norm) hidden = g.norm(hidden, `${name}.norm`);
  return g.dropout(g.linear(hidden, `${name}.fc2`, dim, mlp.bias), dropout.projection, `${name}.drop2`); // [B, N, D]
}

/** timm's `Mlp`, `SwiGLU` (two layers) and `GluMlp` (one of twice the width) up to their second layer. */
function hiddenLayer(g: ModelBuilder, x: Value, name: string): Value {
  const { activation, gate, hidden, bias } = g.spec.mlp;
  if (gate === "none") return g.activation(g.linear(x, `${name}.fc1`, hidden, bias), activation, `${name}.act`);
  const [gates, values] = gate === "split" ? [g.linear(x, `${name}.fc1_g`, hidden, bias), g.linear(x, `${name}.fc1_x`, hidden, bias)] : packedGate(g, x, name);
  return g.node("multiply", {}, [g.activation(gates, activation, `${name}.act`), values], `${name}.gated`);
}

function packedGate(g: ModelBuilder, x: Value, name: string): readonly [gates: Value, values: Value] {
  const { gate, hidden, bias } = g.spec.mlp;
  const both = g.linear(x, `${name}.fc1`, 2 * hidden, bias);
  const halves = [g.node("sliceLast", { start: 0, end: hidden }, [both], `${name}.first`), g.node("sliceLast", { start: hidden, end: 2 * hidden }, [both], `${name}.second`)] as const;
  return gate === "packed" ? halves : [halves[1], halves[0]];
}

/**
 * ViT-22B's block (arXiv 2302.05442): one norm and one projection [hidden, q, k, v] for attention and MLP, whose outputs are added. timm's
 * `ParallelScalingBlock`, and `DiffParallelScalingBlock`, whose output projection is one too.
 */
function parallelBranches(g: ModelBuilder, x: Value, i: number): Value {
  const { dim, heads, headDim, mlp, attention: parts, dropout } = g.spec;
  const name = `blocks.${i}`;
  const [width, hidden] = [heads * headDim, mlp.hidden];
  const normed = g.norm(x, `${name}.in_norm`);
  const weight = g.parameter(`${name}.in_proj.weight`, [hidden + 3 * width, dim]);
  const bias = parts.qkvBias !== false ? g.parameter(`${name}.in_proj.bias`, [hidden + 3 * width]) : undefined;
  const rows = (of: Value, start: number, end: number, of_: string): Value => g.node("sliceRows", { start, end }, [of], of_);
  const fc1Bias = bias ? rows(bias, 0, hidden, `${name}.in_proj.mlp.bias`) : g.parameter(`${name}.mlp_bias`, [hidden]);
  const fc1 = g.node("linear", {}, [normed, rows(weight, 0, hidden, `${name}.in_proj.mlp.weight`), fc1Bias], `${name}.in_proj.mlp`);
  const qkvWeight = rows(weight, hidden, hidden + 3 * width, `${name}.in_proj.qkv.weight`);
  const qkv = g.node("linear", {}, bias ? [normed, qkvWeight, rows(bias, hidden, hidden + 3 * width, `${name}.in_proj.qkv.bias`)] : [normed, qkvWeight], `${name}.in_proj.qkv`);
  const attended = mixed(g, { qkv, prefix: `${name}.`, block: i });
  const active = g.dropout(g.activation(fc1, mlp.activation, `${name}.mlp_act`), dropout.projection, `${name}.mlp_drop`);
  if (!parts.differential) return g.node("add", {}, [g.linear(attended, `${name}.attn_out_proj`, dim, parts.projBias), g.linear(active, `${name}.mlp_out_proj`, dim, mlp.bias)], `${name}.join`);
  const out = g.parameter(`${name}.out_proj.weight`, [dim, width + hidden]);
  const part = (y: Value, start: number, what: string, rest: readonly Value[]): Value => {
    const columns = g.node("sliceColumns", { start, end: start + y.shape[y.shape.length - 1]! }, [out], `${name}.out_proj.${what}.weight`);
    return g.node("linear", {}, [y, columns, ...rest], `${name}.out_proj.${what}`);
  };
  const outBias = parts.projBias ? [g.parameter(`${name}.out_proj.bias`, [dim])] : [];
  return g.node("add", {}, [part(attended, 0, "attn", outBias), part(active, width, "mlp", [])], `${name}.join`);
}

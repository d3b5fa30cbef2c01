import { candidate, type Candidate } from "../candidate.js";
import { attentionId, type AttentionParams } from "./params.js";
import { quadAttention, quadQueries } from "./quad.js";
import { registerAttention } from "./register.js";
import { tiledAttention, tiledKeys, tiledName, type TiledShape } from "./tiled.js";

const tiledShapes: readonly TiledShape[] = [
  { queries: 16, parts: 8 },
  { queries: 32, parts: 4 },
  { queries: 4, parts: 32 },
];

/** Every way to compute an attention, made when asked for. The first is right on every adapter. All take shared queries and relative places. */
export function attentionCandidates(params: AttentionParams): { readonly id: string; candidates(): readonly Candidate[] } {
  return { id: attentionId(params), candidates: () => candidates(params) };
}

function candidates(params: AttentionParams): readonly Candidate[] {
  const { headDim, queries, tokens } = params;
  const units = Math.ceil(headDim / 4);
  // A bias is one more load a score.
  const biases = params.relative ? 1 : 0;
  const perQuad = headDim % 4 === 0 ? quadQueries(params) : undefined;
  return [
    candidate("register", {
      workgroups: Math.ceil((params.batch * params.heads * queries) / 64),
      invocations: 64,
      fmas: 2 * tokens * units + 2 * tokens,
      loads: 2 * tokens * units + biases * tokens,
      sharedLoads: 0,
      barriers: 0,
      broadcasts: 0,
    }, () => [registerAttention(params)]),
    ...(perQuad === undefined
      ? []
      : [
          candidate(`quad${perQuad}`, {
            workgroups: Math.ceil(queries / perQuad / 2) * params.heads * params.batch,
            invocations: 8,
            fmas: 2 * (tokens / 4) * units * perQuad,
            loads: (tokens / 4) * (units * (perQuad / 8 + 2 + perQuad / 4) + biases * perQuad),
            sharedLoads: 0,
            barriers: 0,
            broadcasts: (tokens / 4) * (units * (perQuad / 8) * 3 + (units / 4) * perQuad),
          }, () => [quadAttention(params, perQuad)]),
        ]),
    ...tiledShapes.flatMap((shape) => {
      const keys = tiledKeys(params, shape);
      if (keys === undefined || (queries < shape.queries && shape.queries > 4)) return [];
      const tiles = Math.ceil(tokens / keys);
      return [
        candidate(tiledName(shape), {
          workgroups: Math.ceil(queries / shape.queries) * params.heads * params.batch,
          invocations: shape.queries * shape.parts,
          fmas: tiles * (Math.ceil(keys / shape.parts) * units + keys * Math.ceil(units / shape.parts)),
          loads: (2 * tiles * keys * units) / (shape.queries * shape.parts) + biases * tiles * Math.ceil(keys / shape.parts),
          sharedLoads: tiles * (2 * Math.ceil(keys / shape.parts) * units + keys * Math.ceil(units / shape.parts) + keys / 2),
          barriers: 5 * tiles,
          broadcasts: 0,
        }, () => [tiledAttention(params, shape)]),
      ];
    }),
  ];
}

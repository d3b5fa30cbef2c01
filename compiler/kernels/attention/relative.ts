import { lines, raw, wgsl, type Wgsl } from "../wgsl.js";

/** Patches whose relative places have a bias. */
export interface Relative {
  readonly rows: number;
  readonly columns: number;
  /** Tokens in front, which have no place. */
  readonly prefix: number;
}

/** Rows of the table: one for each difference of two places, and three for the tokens in front. */
export const relativeRows = ({ rows, columns }: Relative): number => (2 * rows - 1) * (2 * columns - 1) + 3;

export const relativeId = ({ rows, columns, prefix }: Relative): string => `relative${rows}x${columns}behind${prefix}`;

/**
 * Functions that find the bias of a score in the table `relative` [rows of the table, heads], as the op `relativeBias` defines it:
 * `relative_bias(query_place(query), key_place(key), head)`. A difference of two places is a row of the table. `query_place` and `key_place` are
 * functions of their own, since they divide, and are wanted once for several scores.
 */
export function relativeHelpers(relative: Relative): readonly Wgsl[] {
  const { columns, prefix } = relative;
  const rows = relativeRows(relative);
  const patchOf = (token: string): Wgsl => raw(prefix === 0 ? token : `max(${token}, ${prefix}u) - ${prefix}u`);
  // Tokens in front have a place that no patch has.
  const place = (token: string, of: string): Wgsl => raw(prefix === 0 ? of : `select(${of}, in_front, ${token} < ${prefix}u)`);
  const first = (relative.rows - 1) * (2 * columns - 1) + columns - 1;
  // A patch's row times 2 columns - 1, plus its column.
  const spread = `at + at / ${columns}u * ${columns - 1}u`;
  return [
    ...(prefix === 0 ? [] : [raw("const in_front = 0xffffffffu;")]),
    wgsl`
      fn query_place(query: u32) -> u32 {
        let at = ${patchOf("query")};
        return ${place("query", `${spread} + ${first}u`)};
      }
    `,
    wgsl`
      fn key_place(key: u32) -> u32 {
        let at = ${patchOf("key")};
        return ${place("key", spread)};
      }
    `,
    wgsl`
      fn relative_bias(query: u32, key: u32, head: u32) -> f32 {
        ${lines(
          prefix === 0
            ? [raw("let row = query - key;")]
            : [
                raw(`let of_patches = select(query - key, ${rows - 3}u, query == in_front);`),
                raw(`let row = select(of_patches, select(${rows - 2}u, ${rows - 1}u, query == in_front), key == in_front);`),
              ],
        )}
        return relative[row * heads + head];
      }
    `,
  ];
}

/** How a parameter of the model is made of tensors that another ecosystem shapes otherwise: the forms of a naming, as steps of a recipe. */

import type { TensorForm, WeightStep } from "./plan.js";

/** What the tensors of a file must look like, and how they become the parameter. Registers are the tensors, then each step's result. */
export interface Formed {
  readonly shapes: readonly (readonly number[])[];
  readonly steps: readonly WeightStep[];
}

/**
 * @param sizes the numbers of the rule
 * @param shape of the parameter
 * @param found shapes of the file's tensors; undefined for one that is missing
 */
export function formed(form: TensorForm, sizes: readonly number[], shape: readonly number[], found: readonly (readonly number[] | undefined)[]): Formed {
  const steps: WeightStep[] = [];
  const push = (step: WeightStep): number => found.length + steps.push(step) - 1;
  const [start = 0, all = 0] = sizes;
  const [rows = 0, ...rest] = shape;
  const reshaped = (of: number, from: readonly number[], to: readonly number[]): number => (from.join() === to.join() ? of : push({ op: "reshape", of, shape: to }));
  /** Axes of length 1 may be there or not, but all others as wanted; those of a missing tensor are not asked for. */
  const loose = (wanted: readonly number[], i: number): readonly number[] => {
    const bare = wanted.filter((size) => size !== 1);
    const given = found[i];
    return given !== undefined && given.filter((size) => size !== 1).join() === bare.join() ? given : bare;
  };
  switch (form) {
    case "same":
      return { shapes: [shape], steps };
    case "squeezed": {
      const given = loose(shape, 0);
      reshaped(0, given, shape);
      return { shapes: [given], steps };
    }
    case "stacked":
      push({ op: "concat", of: found.map((_, i) => i), axis: 0 });
      return { shapes: found.map(() => [rows / found.length, ...rest]), steps };
    case "transposed":
      push({ op: "transpose", of: 0, axes: [1, 0] });
      return { shapes: [shape.toReversed()], steps };
    case "convolution": {
      const [out, channels, height, width] = shape as [number, number, number, number];
      push({ op: "transpose", of: 0, axes: [3, 2, 0, 1] });
      return { shapes: [[height, width, channels, out]], steps };
    }
    case "heads": {
      const split = [start, rows / found.length / start];
      const parts = found.map((_, i) => {
        const flat = push({ op: "reshape", of: i, shape: [...rest, split[0]! * split[1]!] });
        return rest.length > 0 ? push({ op: "transpose", of: flat, axes: [1, 0] }) : flat;
      });
      push({ op: "concat", of: parts, axis: 0 });
      return { shapes: found.map(() => [...rest, ...split]), steps };
    }
    case "merged": {
      const width = rest[0] ?? 0;
      push({ op: "transpose", of: push({ op: "reshape", of: 0, shape: [width, rows] }), axes: [1, 0] });
      return { shapes: [[start, width / start, rows]], steps };
    }
    case "rows":
      push({ op: "slice", of: 0, axis: 0, start, end: start + rows });
      return { shapes: [[all, ...rest]], steps };
    case "tokens": {
      const [, tokens = 0, dim = 0] = shape;
      const given = loose([all, dim], 0);
      push({ op: "slice", of: reshaped(0, given, [1, all, dim]), axis: 1, start, end: start + tokens });
      return { shapes: [given], steps };
    }
    case "firstToken": {
      const dim = shape.at(-1) ?? 0;
      const [token, table] = [loose(shape, 0), loose([start, dim], 1)];
      const first = push({ op: "slice", of: reshaped(1, table, [1, start, dim]), axis: 1, start: 0, end: 1 });
      push({ op: "tokenTable", of: [reshaped(0, token, shape), first], prefix: 1, patches: 0, positions: "all", bias: false });
      return { shapes: [token, table], steps };
    }
    case "zeros": {
      const count = shape.reduce((product, size) => product * size, 1);
      const flat = push({ op: "reshape", of: 0, shape: [sizes.reduce((product, size) => product * size, 1)] });
      push({ op: "scale", of: push({ op: "reshape", of: push({ op: "slice", of: flat, axis: 0, start: 0, end: count }), shape }), factor: 0 });
      return { shapes: [sizes], steps };
    }
    default:
      return form satisfies never;
  }
}

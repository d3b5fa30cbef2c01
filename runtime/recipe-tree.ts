/**
 * What a packed tensor is made of, as a tree instead of numbered registers. Rows of a result are taken from as far down as they can be: what
 * then is not read need not be there, and a weight that is joined of several tensors can be made of one after another.
 */

import type { WeightSource, WeightStep } from "./plan.js";
import { operands, renumbered } from "./steps.js";

/** What a tensor is packed from, as in `PackedTensor`. */
export interface Recipe {
  readonly sources: readonly WeightSource[];
  readonly steps: readonly WeightStep[];
}

/** A source, or a step and what it reads. */
export interface RecipeNode {
  readonly make: WeightSource | WeightStep;
  readonly of: readonly RecipeNode[];
  /** Unknown of steps whose results are only taken whole. */
  readonly shape: readonly number[] | undefined;
}

/** Steps of which a row needs that row alone of the operands at these places, and all of the others. */
const rowWise: Readonly<Partial<Record<WeightStep["op"], readonly number[]>>> = { scale: [0], scaleRows: [0], scaleChannels: [0, 1], foldNormScale: [0], foldNormShift: [0, 2] };

const isStep = (make: WeightSource | WeightStep): make is WeightStep => "op" in make;

/** The tree of a recipe's result, with rows taken as far down as they can be. */
export function treeOf({ sources, steps }: Recipe): RecipeNode {
  const registers: RecipeNode[] = sources.map((source) => ({ make: source, of: [], shape: source.shape }));
  for (const step of steps) registers.push(made(step, operands(step).map((of) => registers[of]!)));
  return registers.at(-1)!;
}

/** The result of a step. */
export function made(step: WeightStep, of: readonly RecipeNode[]): RecipeNode {
  if (step.op === "slice" && step.axis === 0) return rowsOf(of[0]!, step.start, step.end);
  return { make: step, of, shape: shapeOf(step, of.map(({ shape }) => shape)) };
}

/** Some rows of a tensor, or elements of a vector. */
export function rowsOf(node: RecipeNode, start: number, end: number): RecipeNode {
  const { make, of, shape } = node;
  if (shape?.[0] === end - start) return node;
  const sliced = (): RecipeNode => ({ make: { op: "slice", of: 0, axis: 0, start, end }, of: [node], shape: shape?.with(0, end - start) });
  if (!isStep(make)) return sliced();
  const rows = rowWise[make.op];
  if (make.op === "scaleRows") {
    const scaled = { start: Math.max(make.start, start) - start, end: Math.min(make.end, end) - start };
    const operand = rowsOf(of[0]!, start, end);
    return scaled.start < scaled.end ? made({ ...make, ...scaled }, [operand]) : operand;
  }
  if (rows) return made(make, of.map((each, i) => (rows.includes(i) ? rowsOf(each, start, end) : each)));
  if (make.op === "slice") return make.axis === 0 ? rowsOf(of[0]!, make.start + start, make.start + end) : made(make, [rowsOf(of[0]!, start, end)]);
  if (make.op === "reshape" && of[0]!.shape?.[0] === make.shape[0]) return made({ ...make, shape: [end - start, ...make.shape.slice(1)] }, [rowsOf(of[0]!, start, end)]);
  if (make.op !== "concat" || make.axis !== 0 || of.some((each) => each.shape === undefined)) return sliced();
  let before = 0;
  const parts = of.flatMap((each) => {
    const [from, to] = [Math.max(start - before, 0), Math.min(end - before, each.shape![0]!)];
    before += each.shape![0]!;
    return from < to ? [rowsOf(each, from, to)] : [];
  });
  return parts.length === 1 ? parts[0]! : made({ ...make, of: parts.map((_, i) => i) }, parts);
}

/** Where the tensors end that the rows of a tensor come from: one number when they come from one, or when nobody knows. */
export function jointsOf({ make, of, shape }: RecipeNode): readonly number[] {
  const whole = shape ? [shape[0]!] : [];
  if (!isStep(make)) return whole;
  if (make.op === "concat" && make.axis === 0 && shape) {
    let end = 0;
    return of.map((each) => (end += each.shape![0]!));
  }
  const keepsRows = rowWise[make.op] !== undefined || (make.op === "reshape" && of[0]!.shape?.[0] === make.shape[0]);
  return keepsRows ? jointsOf(of[0]!) : whole;
}

/** Numbers the registers; what occurs more than once is made once. Sources keep the order of `before`. */
export function recipeOfTree(tree: RecipeNode, before: readonly WeightSource[]): Recipe {
  const found = new Set<string>();
  const find = ({ make, of }: RecipeNode): void => {
    if (!isStep(make)) found.add(JSON.stringify(make));
    of.forEach(find);
  };
  find(tree);
  const sources = before.filter((source) => found.has(JSON.stringify(source)));
  const places = new Map(sources.map((source, i) => [JSON.stringify(source), i]));
  const steps: WeightStep[] = [];
  const number = ({ make, of }: RecipeNode): number => {
    if (!isStep(make)) return places.get(JSON.stringify(make))!;
    const registers = of.map(number);
    let next = 0;
    // Operands stand in the order in which the step reads them, whatever their registers were.
    const step = renumbered(make, () => registers[next++]!);
    const key = JSON.stringify(step);
    const known = places.get(key);
    if (known !== undefined) return known;
    steps.push(step);
    places.set(key, sources.length + steps.length - 1);
    return sources.length + steps.length - 1;
  };
  number(tree);
  return { sources, steps };
}

/** The shape that a step leaves, of those whose rows are taken apart. */
function shapeOf(step: WeightStep, shapes: readonly (readonly number[] | undefined)[]): readonly number[] | undefined {
  const [first] = shapes;
  switch (step.op) {
    case "reshape":
      return step.shape;
    case "slice":
      return first?.with(step.axis, step.end - step.start);
    case "concat":
      return shapes.every((shape) => shape !== undefined) ? first?.with(step.axis, shapes.reduce((sum, shape) => sum + shape[step.axis]!, 0)) : undefined;
    case "foldNormShift":
      return first?.slice(0, 1);
    default:
      return rowWise[step.op] ? first : undefined;
  }
}

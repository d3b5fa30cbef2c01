/**
 * Text that was unrolled, written with loops again: lines that repeat while whole numbers in them grow by constant steps. What is printed
 * is a template literal that makes the text, byte for byte.
 */

/** A whole number that depends on the variables of the loops around it, the outermost first: constant + sum of factors[depth] * variable. */
interface Affine {
  readonly constant: number;
  readonly factors: readonly number[];
}

/** A line: text, number, text, number, ..., text. */
interface Line {
  /** Equal for lines that differ in their numbers alone, and for loops likewise. */
  readonly shape: number;
  readonly texts: readonly string[];
  readonly numbers: readonly Affine[];
}

interface Loop {
  readonly shape: number;
  readonly count: number;
  readonly body: readonly Item[];
  /** Those of the body. */
  readonly numbers: readonly Affine[];
}

type Item = Line | Loop;

/** A number for each text: shapes are compared more often than anything else. */
type ShapeOf = (text: string) => number;

/** Lines that a loop must save: with less, what it is written with is longer than what it saves. */
const leastSaved = 3;
/** Lines of a loop's body at most, which bounds the search. */
const longestBody = 96;
/** Names of loops' variables, by depth. */
const variables = ["i", "j", "k", "l", "m", "n"] as const;

/**
 * Prints a text as what stands between the backticks of a template literal. Loops call `times(count, (i) => text)`, which joins the texts for
 * i = 0, 1, ..., count - 1.
 *
 * @throws RangeError for text with a backtick, a backslash or `${`, which WGSL never has.
 */
export type Roll = (text: string) => string;

/** A `Roll` that remembers lines: kernels have most of theirs in common. */
export function roller(): Roll {
  const shapes = new Map<string, number>();
  const shapeOf: ShapeOf = (shape) => shapes.get(shape) ?? (shapes.set(shape, shapes.size), shapes.size - 1);
  const lines = new Map<string, Line>();
  const parsed = (line: string): Line => lines.get(line) ?? (lines.set(line, parse(line, shapeOf)), lines.get(line)!);
  return (text) => rolled(text, parsed, shapeOf);
}

function rolled(text: string, parsed: (line: string) => Line, shapeOf: ShapeOf): string {
  if (/[`\\]|\$\{/.test(text)) throw new RangeError("a text with a backtick, a backslash or ${ is no kernel");
  const items = roll(text.split(/(?<=\n)/).map(parsed), 0, shapeOf);
  if (unrolled(items, []) !== text) throw new Error("a kernel with loops for its repeated lines is not what it was (a bug of vitc)");
  return print(items);
}

/** Numbers that may grow. Those with a fraction or an exponent stay text, except that `.0` is text behind a whole number. */
function parse(line: string, shapeOf: ShapeOf): Line {
  const texts: string[] = [""];
  const numbers: Affine[] = [];
  for (const [part] of line.matchAll(/\d+(?:\.\d+)?(?:e[-+]?\d+)?|\D+/g)) {
    const whole = /^(0|[1-9]\d{0,14})(\.0)?$/.exec(part);
    if (whole === null) {
      texts[texts.length - 1] += part;
      continue;
    }
    numbers.push({ constant: Number(whole[1]), factors: [] });
    texts.push(whole[2] ?? "");
  }
  return { shape: shapeOf(texts.join("\u0000")), texts, numbers };
}

/** Replaces repetitions by loops, the one that saves most at each place, and then likewise inside of it. */
function roll(items: readonly Item[], depth: number, shapeOf: ShapeOf): readonly Item[] {
  if (depth === variables.length) return items;
  const result: Item[] = [];
  for (let at = 0; at < items.length; ) {
    const found = longest(items, at);
    if (found === undefined) {
      result.push(items[at++]!);
      continue;
    }
    const { period, count } = found;
    const body = roll(items.slice(at, at + period).map((item, i) => growing(item, items[at + period + i]!, depth)), depth + 1, shapeOf);
    result.push({ shape: shapeOf(`${count} times ${body.map(({ shape }) => shape).join()}`), count, body, numbers: body.flatMap(({ numbers }) => numbers) });
    at += period * count;
  }
  return result;
}

/** The repetition from a place on that saves most lines; of several the shortest body. */
function longest(items: readonly Item[], at: number): { readonly period: number; readonly count: number } | undefined {
  let best: { readonly period: number; readonly count: number } | undefined;
  let saved = leastSaved - 1;
  for (let period = 1; period <= longestBody && at + 2 * period <= items.length; period++) {
    if (items[at + period]!.shape !== items[at]!.shape) continue;
    let end = at + period;
    while (end < items.length && follows(items, end, period, at)) end++;
    const count = Math.floor((end - at) / period);
    if ((count - 1) * period > saved) [best, saved] = [{ period, count }, (count - 1) * period];
  }
  return best;
}

/** Whether an item goes on where the one a period before it left off. The second round says by how much numbers grow. */
function follows(items: readonly Item[], index: number, period: number, start: number): boolean {
  const [item, before] = [items[index]!, items[index - period]!];
  if (item.shape !== before.shape) return false;
  const earlier = index - 2 * period < start ? undefined : items[index - 2 * period]!;
  // Loops, not every(): most of the time is spent here.
  for (let i = 0; i < item.numbers.length; i++) {
    const [number, last] = [item.numbers[i]!, before.numbers[i]!];
    if (earlier !== undefined && number.constant - last.constant !== last.constant - earlier.numbers[i]!.constant) return false;
    if (number.factors.length !== last.factors.length) return false;
    for (let depth = 0; depth < number.factors.length; depth++) if (number.factors[depth] !== last.factors[depth]) return false;
  }
  return true;
}

/** An item of a loop's first round, with its numbers growing as the second round says. */
function growing(item: Item, next: Item, depth: number): Item {
  const numbers = item.numbers.map(({ constant, factors }, i): Affine => ({ constant, factors: [...factors, ...zeros(depth - factors.length), next.numbers[i]!.constant - constant] }));
  return { ...item, numbers };
}

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

function print(items: readonly Item[], depth = 0): string {
  return items
    .map((item) => {
      if ("texts" in item) return lineOf(item, printNumber);
      return `\${times(${item.count}, (${variables[depth]}) => \`${print(item.body, depth + 1)}\`)}`;
    })
    .join("");
}

function lineOf({ texts, numbers }: Line, write: (number: Affine) => string): string {
  let line = texts[0]!;
  for (let i = 0; i < numbers.length; i++) line += write(numbers[i]!) + texts[i + 1]!;
  return line;
}

function printNumber({ constant, factors }: Affine): string {
  if (factors.length === 0) return String(constant);
  const terms = factors.flatMap((factor, depth) => (factor === 0 ? [] : [factor === 1 ? variables[depth]! : `${factor} * ${variables[depth]}`]));
  if (terms.length === 0) return String(constant);
  return `\${${[...terms, ...(constant === 0 ? [] : [constant])].join(" + ").replaceAll("+ -", "- ")}}`;
}

/** The text that loops stand for, `at` the variables of those around. */
function unrolled(items: readonly Item[], at: readonly number[]): string {
  const value = ({ constant, factors }: Affine): string => {
    let sum = constant;
    for (let depth = 0; depth < factors.length; depth++) sum += factors[depth]! * at[depth]!;
    return String(sum);
  };
  let text = "";
  for (const item of items) {
    if ("texts" in item) text += lineOf(item, value);
    else for (let i = 0; i < item.count; i++) text += unrolled(item.body, [...at, i]);
  }
  return text;
}

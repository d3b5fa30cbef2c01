/**
 * `--where`: a condition on the columns of a row, parsed here and never evaluated as code.
 *
 *   or      = and { "||" and }
 *   and     = compare { "&&" compare }
 *   compare = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
 *   sum     = product { ("+" | "-") product }
 *   product = unary { ("*" | "/") unary }
 *   unary   = { "!" | "-" } ( number | string | "true" | "false" | "null" | column | "(" or ")" )
 *
 * A column that is not known is `null`: arithmetic with it is null, an order with it is false, and `== null` asks for it.
 */
import { nearest, show } from "../spec/errors.js";
import type { Cell, Column, Row } from "./row.js";

/** A condition that cannot be read. The message shows the place. */
export class WhereError extends Error {
  override readonly name = "WhereError";
}

export type Condition = (row: Row) => boolean;

/** What a column holds wherever it is known. */
export type CellKind = "number" | "text";

type Evaluate = (row: Row) => Cell;

interface Token {
  readonly kind: "number" | "string" | "name" | "sign" | "end";
  readonly text: string;
  readonly at: number;
}

/** Deeper than anybody writes: beyond it the parser's own stack would give out. */
const deepest = 200;
const longestCondition = 10_000;

const textColumns: ReadonlySet<string> = new Set(["name", "bound_by", "adapter", "dtype", "spec_hash", "plan_hash", "measured_at", "version", "failed"]);

/** What columns hold, as far as it is sure: of axes by their values, which may be of several kinds. */
export function cellKinds(columns: readonly Column[], axes: ReadonlyMap<string, readonly Cell[]>): ReadonlyMap<string, CellKind> {
  return new Map(columns.flatMap(({ name, digits }): (readonly [string, CellKind])[] => {
    const values = axes.get(name);
    if (values !== undefined) return values.every((value) => typeof value === "number") ? [[name, "number"]] : values.every((value) => typeof value === "string") ? [[name, "text"]] : [];
    return digits !== undefined ? [[name, "number"]] : textColumns.has(name) ? [[name, "text"]] : [];
  }));
}

/**
 * @param columns the names that may stand in it
 * @param kinds what columns hold, as far as it is sure: a text is not compared with a number then, which would never be true
 * @throws WhereError with the text, a caret below the place, and the nearest column or the fix
 */
export function parseWhere(text: string, columns: readonly string[], kinds: ReadonlyMap<string, CellKind> = new Map()): Condition {
  if (text.length > longestCondition) throw new WhereError(`the condition has ${text.length} characters, and at most ${longestCondition} are read`);
  const parser = new Parser(text, columns, kinds);
  const evaluate = parser.whole();
  return (row) => evaluate(row) === true;
}

class Parser {
  private readonly tokens: readonly Token[];
  private next = 0;
  private depth = 0;
  /** What parts give, where it is sure. */
  private readonly given = new Map<Evaluate, CellKind>();

  constructor(
    private readonly text: string,
    private readonly columns: readonly string[],
    private readonly kinds: ReadonlyMap<string, CellKind>,
  ) {
    this.tokens = this.read();
  }

  whole(): Evaluate {
    if (this.peek().kind === "end") throw this.error("a condition is missing, p50_ms < 16 for example", this.peek());
    const evaluate = this.or();
    const rest = this.peek();
    if (rest.kind !== "end") throw this.error(rest.text === "=" ? "write == to compare" : `${rest.text} is not expected here; conditions are joined by && and ||`, rest);
    return evaluate;
  }

  private or(): Evaluate {
    return this.joined(() => this.and(), { "||": (a, b) => (row) => this.truth(a, row) || this.truth(b, row) });
  }

  private and(): Evaluate {
    return this.joined(() => this.compare(), { "&&": (a, b) => (row) => this.truth(a, row) && this.truth(b, row) });
  }

  private compare(): Evaluate {
    const first = this.peek();
    const left = this.sum();
    const sign = this.take("<", "<=", ">", ">=", "==", "!=");
    if (sign === undefined) return left;
    const second = this.peek();
    const right = this.sum();
    this.expectAlike([left, first], [right, second]);
    const again = this.peek();
    if (["<", "<=", ">", ">=", "==", "!="].includes(again.text) && again.kind === "sign") throw this.error("comparisons do not chain: write a < b && b < c", again);
    return (row) => compared(sign.text, left(row), right(row));
  }

  /** A number and a text are in no order and never equal, so that no row would be left, and nothing would say why. */
  private expectAlike(...sides: readonly [readonly [Evaluate, Token], readonly [Evaluate, Token]]): void {
    const text = sides.find(([side]) => this.given.get(side) === "text")?.[1];
    const number = sides.find(([side]) => this.given.get(side) === "number")?.[1];
    if (text === undefined || number === undefined) return;
    if (text.kind === "string") throw this.error(`${number.kind === "name" ? `${number.text} is a number` : "the other side is a number"}, and ${show(text.text)} a text: ${/^-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text.text) ? `write ${text.text} without quotes` : "write a number"}`, text);
    if (number.kind === "number" && text.kind === "name") throw this.error(`${text.text} is a text, and ${number.text} a number: write '${number.text}' in quotes`, number);
    throw this.error(`${text.kind === "name" ? text.text : "one side"} is a text, and ${number.kind === "name" ? number.text : "the other"} a number: they are never equal, and in no order`, number);
  }

  private sum(): Evaluate {
    return this.joined(() => this.product(), { "+": arithmetic((a, b) => a + b), "-": arithmetic((a, b) => a - b) });
  }

  private product(): Evaluate {
    return this.joined(() => this.unary(), { "*": arithmetic((a, b) => a * b), "/": arithmetic((a, b) => a / b) });
  }

  /** Operands of one rank, from left to right. */
  private joined(operand: () => Evaluate, signs: Readonly<Record<string, (a: Evaluate, b: Evaluate) => Evaluate>>): Evaluate {
    let left = operand();
    for (let sign = this.take(...Object.keys(signs)); sign !== undefined; sign = this.take(...Object.keys(signs))) {
      left = signs[sign.text]!(left, operand());
      if (/[-+*/]/.test(sign.text)) this.given.set(left, "number");
    }
    return left;
  }

  private unary(): Evaluate {
    const token = this.tokens[this.next++]!;
    if (++this.depth > deepest) throw this.error(`more than ${deepest} parts inside each other`, token);
    try {
      return this.operand(token);
    } finally {
      this.depth--;
    }
  }

  private operand(token: Token): Evaluate {
    const { kind, text } = token;
    if (kind === "number") return this.of("number", constant(Number(text)));
    if (kind === "string") return this.of("text", constant(text));
    if (kind === "name") {
      if (text === "true" || text === "false") return constant(text === "true");
      if (text === "null") return constant(null);
      if (this.columns.includes(text)) return this.of(this.kinds.get(text), (row) => (Object.hasOwn(row, text) ? row[text]! : null));
      if (text === "pareto") throw this.error("the rows that --where leaves are marked; --front shows those with the mark", token);
      const near = nearest(text, this.columns);
      throw this.error(`${text} is no column${near === undefined ? `; columns are ${this.columns.join(", ")}` : `; did you mean ${near}?`}`, token);
    }
    if (text === "(") {
      const inner = this.or();
      const close = this.tokens[this.next++]!;
      if (close.text !== ")" || close.kind !== "sign") throw this.error(close.text === "=" ? "write == to compare" : "a closing parenthesis is missing", close);
      return inner;
    }
    if (text === "!") {
      const negated = this.unary();
      return (row) => !this.truth(negated, row);
    }
    if (text === "-") {
      const negated = this.unary();
      return this.of("number", (row) => {
        const value = negated(row);
        return typeof value === "number" ? -value : null;
      });
    }
    throw this.error(kind === "end" ? "something is missing at the end" : `${text} is not expected here: a column, a number or a text in quotes is`, token);
  }

  private of(kind: CellKind | undefined, evaluate: Evaluate): Evaluate {
    if (kind !== undefined) this.given.set(evaluate, kind);
    return evaluate;
  }

  /** What is not known is not true. */
  private truth(evaluate: Evaluate, row: Row): boolean {
    return evaluate(row) === true;
  }

  private peek(): Token {
    return this.tokens[this.next]!;
  }

  private take(...signs: readonly string[]): Token | undefined {
    const token = this.peek();
    if (token.kind !== "sign" || !signs.includes(token.text)) return undefined;
    this.next++;
    return token;
  }

  private read(): readonly Token[] {
    const tokens: Token[] = [];
    const pattern = /\s*(?:(?<number>\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)|(?<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|"(?<double>[^"]*)"|'(?<single>[^']*)'|(?<sign>\|\||&&|[<>=!]=|[<>!()+*/=-]))/iy;
    for (;;) {
      const at = pattern.lastIndex;
      const match = pattern.exec(this.text);
      if (match === null) {
        const rest = this.text.slice(at);
        const place = at + rest.length - rest.trimStart().length;
        const end: Token = { kind: "end", text: rest.trim() === "" ? "the end" : this.text[place]!, at: rest.trim() === "" ? this.text.trimEnd().length : place };
        if (rest.trim() !== "") throw this.error(/["']/.test(end.text) ? "the text that begins here does not end" : /[&|]/.test(end.text) ? `write ${end.text}${end.text}` : `${end.text} means nothing here`, end);
        return [...tokens, end];
      }
      const { number, name, double, single, sign } = match.groups as Record<string, string | undefined>;
      const begins = at + match[0].length - match[0].trimStart().length;
      if (number !== undefined) tokens.push({ kind: "number", text: number, at: begins });
      else if (name !== undefined) tokens.push({ kind: "name", text: name, at: begins });
      else if (sign !== undefined) tokens.push({ kind: "sign", text: sign, at: begins });
      else tokens.push({ kind: "string", text: double ?? single ?? "", at: begins });
    }
  }

  private error(message: string, { at }: Token): WhereError {
    // What a terminal shows in one line, with the place in it.
    const from = Math.max(0, at - 60);
    const shown = this.text.slice(from, at + 20).replaceAll(/\s/g, " ");
    return new WhereError(`${message}\n  ${shown}\n  ${" ".repeat(at - from)}^`);
  }
}

const constant = (value: Cell): Evaluate => () => value;

const arithmetic = (apply: (a: number, b: number) => number) => (left: Evaluate, right: Evaluate): Evaluate => (row) => {
  const [a, b] = [left(row), right(row)];
  return typeof a === "number" && typeof b === "number" ? apply(a, b) : null;
};

function compared(sign: string, a: Cell, b: Cell): boolean {
  if (sign === "==") return a === b;
  if (sign === "!=") return a !== b;
  const numbers = typeof a === "number" && typeof b === "number";
  const texts = typeof a === "string" && typeof b === "string";
  if (!numbers && !texts) return false;
  switch (sign) {
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    default:
      return a >= b;
  }
}

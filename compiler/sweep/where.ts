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
import { nearest } from "../spec/errors.js";
import type { Cell, Row } from "./row.js";

/** A condition that cannot be read. The message shows the place. */
export class WhereError extends Error {
  override readonly name = "WhereError";
}

export type Condition = (row: Row) => boolean;

type Evaluate = (row: Row) => Cell;

interface Token {
  readonly kind: "number" | "string" | "name" | "sign" | "end";
  readonly text: string;
  readonly at: number;
}

/** Deeper than anybody writes: beyond it the parser's own stack would give out. */
const deepest = 200;
const longestCondition = 10_000;

/**
 * @param columns the names that may stand in it
 * @throws WhereError with the text, a caret below the place, and the nearest column
 */
export function parseWhere(text: string, columns: readonly string[]): Condition {
  if (text.length > longestCondition) throw new WhereError(`the condition has ${text.length} characters, and at most ${longestCondition} are read`);
  const parser = new Parser(text, columns);
  const evaluate = parser.whole();
  return (row) => evaluate(row) === true;
}

class Parser {
  private readonly tokens: readonly Token[];
  private next = 0;
  private depth = 0;

  constructor(
    private readonly text: string,
    private readonly columns: readonly string[],
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
    const left = this.sum();
    const sign = this.take("<", "<=", ">", ">=", "==", "!=");
    if (sign === undefined) return left;
    const right = this.sum();
    const again = this.peek();
    if (["<", "<=", ">", ">=", "==", "!="].includes(again.text) && again.kind === "sign") throw this.error("comparisons do not chain: write a < b && b < c", again);
    return (row) => compared(sign.text, left(row), right(row));
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
    for (let sign = this.take(...Object.keys(signs)); sign !== undefined; sign = this.take(...Object.keys(signs))) left = signs[sign.text]!(left, operand());
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
    if (kind === "number") return constant(Number(text));
    if (kind === "string") return constant(text);
    if (kind === "name") {
      if (text === "true" || text === "false") return constant(text === "true");
      if (text === "null") return constant(null);
      if (this.columns.includes(text)) return (row) => (Object.hasOwn(row, text) ? row[text]! : null);
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
      return (row) => {
        const value = negated(row);
        return typeof value === "number" ? -value : null;
      };
    }
    throw this.error(kind === "end" ? "something is missing at the end" : `${text} is not expected here: a column, a number or a text in quotes is`, token);
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

/** Text that is HTML already. Everything else is escaped where it is put into HTML. */
export class Markup {
  constructor(readonly text: string) {}
}

/** What may stand in a template: text and numbers are escaped, nothing is written for `undefined` and `false`. */
export type Piece = Markup | string | number | false | undefined | readonly Piece[];

/** A template for HTML and SVG, whose values cannot break out of text or of a quoted attribute. */
export function markup(strings: TemplateStringsArray, ...pieces: readonly Piece[]): Markup {
  return new Markup(strings.reduce((text, string, i) => `${text}${render(pieces[i - 1])}${string}`));
}

function render(piece: Piece): string {
  if (piece === undefined || piece === false) return "";
  if (piece instanceof Markup) return piece.text;
  if (typeof piece === "string" || typeof piece === "number") return escape(String(piece));
  return piece.map(render).join("");
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

const escape = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => entities[character]!);

import type { Column } from "../../row.js";
import { cellOf, cellText, compareCells, titleOf, type Frame } from "./frame.js";

/** What the table shows, and in which order. */
export interface TableView {
  readonly columns: readonly Column[];
  readonly sort: { readonly name: string; readonly down: boolean } | null;
  readonly picked: number | null;
  /** Rows that are drawn at most; a button asks for more. */
  readonly most: number;
}

/** An element with attributes and children. Children that are text stay text. */
export function element(tag: string, attributes: Readonly<Record<string, string>>, ...children: readonly (Node | string)[]): HTMLElement {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Rows in the order of the table. What is not known comes last, whichever way it is sorted. */
export function sortRows(frame: Frame, rows: readonly number[], sort: TableView["sort"]): readonly number[] {
  if (sort === null) return rows;
  const turn = sort.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, other] = [cellOf(frame, sort.name, a), cellOf(frame, sort.name, b)];
    if (one === null || other === null) return Number(one === null) - Number(other === null) || a - b;
    return turn * compareCells(one, other) || a - b;
  });
}

/** Draws the head and the first rows of a table. `data-row` and `data-sort` on buttons say what they are for. */
export function drawTable(table: HTMLTableElement, frame: Frame, rows: readonly number[], view: TableView, onFront: ReadonlySet<number>): void {
  const { columns, sort, picked, most } = view;
  const isNumber = ({ name }: Column): boolean => (frame.cells.get(name) ?? []).some((cell) => typeof cell === "number");
  const numeric = new Set(columns.filter(isNumber).map(({ name }) => name));
  const focused = document.activeElement instanceof HTMLElement && table.contains(document.activeElement) ? document.activeElement.dataset : {};
  const head = columns.map((column) => {
    const own = sort?.name === column.name ? sort : null;
    const button = element("button", { type: "button", "data-sort": column.name, title: column.about }, titleOf(column), ...(own === null ? [] : [element("i", { class: own.down ? "down" : "up" })]));
    return element("th", { scope: "col", "aria-sort": own === null ? "none" : own.down ? "descending" : "ascending", ...(numeric.has(column.name) ? { class: "number" } : {}) }, button);
  });
  const body = sortRows(frame, rows, sort).slice(0, most).map((row) => {
    const cells = columns.map((column) => {
      const text = cellText(column, cellOf(frame, column.name, row));
      if (column.name !== "name") return element("td", numeric.has(column.name) ? { class: "number" } : {}, text);
      const button = element("button", { type: "button", class: "pick", "data-row": String(row), "aria-pressed": String(row === picked) }, text);
      return element("th", { scope: "row" }, ...(onFront.has(row) ? [element("i", { class: "front", role: "img", "aria-label": "on the Pareto front", title: "on the Pareto front of the plot" }), button] : [button]));
    });
    return element("tr", row === picked ? { class: "picked" } : {}, ...cells);
  });
  table.tHead!.replaceChildren(element("tr", {}, ...head));
  table.tBodies[0]!.replaceChildren(...body);
  // The button that was pressed has been drawn anew: it keeps the focus.
  const again = focused["sort"] !== undefined ? `[data-sort="${CSS.escape(focused["sort"])}"]` : focused["row"] !== undefined ? `[data-row="${CSS.escape(focused["row"])}"]` : null;
  if (again !== null) table.querySelector<HTMLElement>(again)?.focus({ preventScroll: true });
}

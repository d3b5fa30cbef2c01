/** Elements, made and found. Data becomes text and properties, never markup. */

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;
type Child = Node | string | undefined | false;

/** An element with attributes (false and undefined leave one out, true is the empty one) and children. */
export function h<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, attributes: Attributes = {}, ...children: readonly Child[]): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children.filter((child): child is Node | string => child !== undefined && child !== false));
  return element;
}

/** Likewise of SVG. */
export function svg<Tag extends keyof SVGElementTagNameMap>(tag: Tag, attributes: Attributes = {}, ...children: readonly Node[]): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** The element of the page with this id, which is one of this class. */
export function find<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return element;
}

/** Before something is hidden, removed or disabled: if it has the focus, `to` gets it, which would else be lost to the page's beginning. */
export function passFocus(from: Element, to: HTMLElement): void {
  if (from.contains(document.activeElement)) to.focus();
}

/** A term, and what it is. */
export interface Fact {
  readonly term: string;
  readonly value: string;
}

/** Puts facts in place of what a list held. */
export function fillFacts(list: HTMLElement, facts: readonly Fact[]): void {
  list.replaceChildren(...facts.map(({ term, value }) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

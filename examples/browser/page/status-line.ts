/** How far something has come: words and a bar to see, and for those who hear the page each stage once. */
import { find, h } from "./dom.js";

/** Has screen readers say something when they have said what they are saying. Numbers that move are not for it. */
export const announce = (text: string): void => find("announcer", HTMLElement).replaceChildren(h("p", {}, text));

export interface Stage {
  /** Numbers, which change faster than anyone can listen to. */
  readonly detail?: string;
  /** How much is done, of 1; undefined while nobody knows. */
  readonly share?: number | undefined;
}

/** A line of what goes on, with a bar, and a button that stops it or begins it again. The button's focus outlives the button. */
export class StatusLine {
  private readonly stage = h("span");
  private readonly detail = h("span", { class: "figures" });
  private readonly bar = h("progress");

  /** @param next what has the focus after a button that went, if no other button came */
  constructor(private readonly element: HTMLElement, private readonly next?: () => HTMLElement) {}

  /** Something begins, in its first stage; returns the button that stops it, if anything does. */
  begin(stage: string, onStop?: () => void): HTMLButtonElement | undefined {
    const stop = buttonFor("Stop", onStop);
    this.stage.textContent = "";
    this.fill(h("span", {}, this.stage, " ", this.detail), this.bar, stop);
    this.show(stage);
    return stop;
  }

  /** What is done now, of what has begun. */
  show(stage: string, { detail = "", share }: Stage = {}): void {
    if (this.stage.textContent !== stage) {
      this.stage.textContent = stage;
      this.bar.setAttribute("aria-label", stage);
      announce(stage);
    }
    this.detail.textContent = detail;
    if (share === undefined) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  /**
   * @param text what it came to; nothing, where something else on the page says so
   * @param onAgain tries once more
   */
  end(text = "", onAgain?: () => void): void {
    this.fill(text !== "" && h("span", {}, text), buttonFor("Try again", onAgain));
    if (text !== "") announce(text);
  }

  private fill(...children: readonly (HTMLElement | false | undefined)[]): void {
    const focused = this.element.contains(document.activeElement);
    this.element.replaceChildren(...children.filter((child) => child instanceof HTMLElement));
    if (focused) (this.element.querySelector("button") ?? this.next?.())?.focus();
  }
}

function buttonFor(text: string, onClick: (() => void) | undefined): HTMLButtonElement | undefined {
  if (onClick === undefined) return undefined;
  const button = h("button", { type: "button" }, text);
  button.addEventListener("click", onClick);
  return button;
}

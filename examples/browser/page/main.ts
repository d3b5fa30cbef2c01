/** Starts the page: its tabs, and what can be done with it wherever one is. */
import { CompareTab } from "./compare-tab.js";
import { find, passFocus } from "./dom.js";
import { Packages } from "./packages.js";
import { PhotographTab } from "./photograph-tab.js";
import { reasonAgainst, showUnsupported } from "./support.js";

const names = ["photograph", "compare"] as const;

type Name = (typeof names)[number];

const shownTab = (): Name => (location.hash === "#compare" ? "compare" : "photograph");

/** Shows the tab that is in the address. */
function showTab(): void {
  const shown = shownTab();
  for (const each of names) {
    const [tab, panel] = [find(`tab-${each}`, HTMLButtonElement), find(each, HTMLElement)];
    tab.setAttribute("aria-selected", String(each === shown));
    tab.tabIndex = each === shown ? 0 : -1;
    if (each !== shown) passFocus(panel, find(`tab-${shown}`, HTMLButtonElement));
    panel.hidden = each !== shown;
  }
}

/** Goes to a tab; it is in the address, so that reloading comes back to it, and going back to the one before. */
function goTo(name: Name): void {
  if (name !== shownTab()) history.pushState(null, "", name === "photograph" ? `${location.pathname}${location.search}` : `#${name}`);
  showTab();
}

function setUpTabs(): void {
  for (const [i, name] of names.entries()) {
    const tab = find(`tab-${name}`, HTMLButtonElement);
    const choose = (to: Name): void => {
      goTo(to);
      find(`tab-${to}`, HTMLButtonElement).focus();
    };
    tab.addEventListener("click", () => choose(name));
    tab.addEventListener("keydown", (event) => {
      const to = ({ ArrowRight: names[(i + 1) % names.length], ArrowLeft: names.at(i - 1), Home: names[0], End: names.at(-1) } as Readonly<Record<string, Name>>)[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose(to);
    });
  }
  addEventListener("popstate", showTab);
  showTab();
}

/** The link's own way would put its target into the address, where the tab is. */
function setUpSkipLink(): void {
  find("skip", HTMLAnchorElement).addEventListener("click", (event) => {
    event.preventDefault();
    find("content", HTMLElement).focus();
  });
}

/** Photographs that are dropped or pasted anywhere. */
function setUpGifts(onPhotograph: (photograph: File) => void): void {
  const stage = find("stage", HTMLElement);
  const isImage = (file: File): boolean => file.type === "" || file.type.startsWith("image/");
  const take = (files: readonly File[] | undefined): boolean => {
    const photograph = files?.find(isImage);
    if (photograph === undefined) return false;
    goTo("photograph");
    onPhotograph(photograph);
    return true;
  };
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  addEventListener("dragleave", ({ relatedTarget }) => void (relatedTarget === null && stage.classList.remove("over")));
  addEventListener("drop", (event) => {
    // Without this the browser leaves the page for the file.
    event.preventDefault();
    stage.classList.remove("over");
    take([...(event.dataTransfer?.files ?? [])]);
  });
  addEventListener("paste", (event) => void (take([...(event.clipboardData?.files ?? [])]) && event.preventDefault()));
}

async function start(): Promise<void> {
  setUpSkipLink();
  const reason = await reasonAgainst();
  if (reason !== undefined) return showUnsupported(reason);
  find("panel", HTMLElement).hidden = false;
  setUpTabs();
  const packages = new Packages();
  const photographs = new PhotographTab(packages);
  new CompareTab(packages);
  setUpGifts((photograph) => void photographs.take(photograph));
  await photographs.start(packages.all[0]!);
}

void start();

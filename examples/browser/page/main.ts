/** Starts the page: its tabs, and what can be done with it wherever one is. */
import { CompareTab } from "./compare-tab.js";
import { find } from "./dom.js";
import { Packages } from "./packages.js";
import { PhotographTab } from "./photograph-tab.js";
import { reasonAgainst, showUnsupported } from "./support.js";

const names = ["photograph", "compare"] as const;

/** Shows a tab; it is in the address, so that reloading and going back come to it. */
function showTab(name: (typeof names)[number]): void {
  for (const each of names) {
    const tab = find(`tab-${each}`, HTMLButtonElement);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
    find(each, HTMLElement).hidden = each !== name;
  }
}

function setUpTabs(): void {
  const fromAddress = (): void => showTab(location.hash === "#compare" ? "compare" : "photograph");
  for (const [i, name] of names.entries()) {
    const tab = find(`tab-${name}`, HTMLButtonElement);
    const go = (to: (typeof names)[number]): void => {
      history.replaceState(null, "", to === "photograph" ? "#" : `#${to}`);
      showTab(to);
      find(`tab-${to}`, HTMLButtonElement).focus();
    };
    tab.addEventListener("click", () => go(name));
    tab.addEventListener("keydown", ({ key }) => {
      const step = ({ ArrowRight: 1, ArrowLeft: -1 } as Readonly<Record<string, number>>)[key];
      if (step !== undefined) go(names[(i + step + names.length) % names.length]!);
    });
  }
  addEventListener("hashchange", fromAddress);
  fromAddress();
}

/** Photographs that are dropped or pasted anywhere. */
function setUpGifts(onPhotograph: (photograph: File) => void): void {
  const stage = find("stage", HTMLElement);
  const isImage = (file: File): boolean => file.type === "" || file.type.startsWith("image/");
  const take = (files: readonly File[] | undefined): boolean => {
    const photograph = files?.find(isImage);
    if (photograph === undefined) return false;
    showTab("photograph");
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

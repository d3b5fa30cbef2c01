/** How loading comes along, and what was loaded. */
import type { Progress } from "vitc/runtime";
import type { LoadedModel } from "../messages.js";
import { fillFacts, find, h } from "./dom.js";
import { duration, megabytes } from "./numbers.js";

const stages: Readonly<Record<Progress["stage"], string>> = { device: "Asking for the GPU", weights: "Reading weights", pipelines: "Building kernels" };

/** A line with a bar, and a button that stops what it is about. */
export class StatusLine {
  constructor(private readonly element: HTMLElement) {}

  show(text: string, share: number | undefined, onStop?: () => void): void {
    const known = this.element.querySelector("progress");
    const label = this.element.querySelector("span");
    // The button stays the same one, so that it keeps the focus.
    if (known && label && (onStop !== undefined) === (this.element.querySelector("button") !== null)) {
      if (label.textContent !== text) label.textContent = text;
      setShare(known, share);
      return;
    }
    const bar = h("progress", { "aria-label": text });
    setShare(bar, share);
    const stop = onStop && h("button", { type: "button" }, "Stop");
    if (onStop) stop?.addEventListener("click", onStop);
    this.element.replaceChildren(h("span", {}, text), bar, ...(stop ? [stop] : []));
  }

  end(text = ""): void {
    this.element.replaceChildren(text);
  }
}

function setShare(bar: HTMLProgressElement, share: number | undefined): void {
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

export class ModelCard {
  private readonly status = new StatusLine(find("load-status", HTMLElement));
  private readonly problem = find("model-problem", HTMLParagraphElement);
  private readonly facts = find("facts", HTMLElement);
  private readonly notices = find("notices", HTMLUListElement);

  loading(name: string, onStop: () => void): (progress: Progress) => void {
    this.problem.textContent = "";
    this.facts.replaceChildren();
    this.notices.replaceChildren();
    this.status.show(`Loading ${name}`, undefined, onStop);
    return ({ stage, loaded, total }) => {
      const of = stage === "weights" ? `, ${megabytes(loaded)} of ${megabytes(total)}` : stage === "pipelines" ? `, ${loaded} of ${total}` : "";
      this.status.show(`${stages[stage]}${of}`, total > 0 ? loaded / total : undefined, onStop);
    };
  }

  loaded({ adapter, adapterName, dtype, gpuBytes, milliseconds, classes }: LoadedModel): void {
    this.status.end(`Loaded in ${duration(milliseconds)}, first run included.`);
    fillFacts(this.facts, [
      { term: "Adapter", value: adapterName, note: adapter.software ? "software: on the CPU, slower than a GPU" : undefined },
      { term: "Stored as", value: dtype },
      { term: "GPU memory", value: megabytes(gpuBytes) },
      { term: "Classes", value: classes > 0 ? String(classes) : "none" },
    ]);
  }

  failed(message: string): void {
    this.status.end();
    this.problem.textContent = message;
  }

  stopped(): void {
    this.status.end("Stopped. Choose a package to load it.");
  }

  notice(text: string): void {
    this.notices.append(h("li", {}, text));
    // A device that is lost again and again has a lot to say.
    while (this.notices.children.length > 4) this.notices.firstElementChild!.remove();
  }
}

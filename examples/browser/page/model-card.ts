/** How loading comes along, and what was loaded. */
import type { Progress } from "vitc/runtime";
import type { LoadedModel } from "../messages.js";
import { fillFacts, find, h } from "./dom.js";
import { duration, megabytes } from "./numbers.js";
import type { PackageMenu } from "./packages.js";
import { StatusLine } from "./status-line.js";

export class ModelCard {
  private readonly problem = find("model-problem", HTMLParagraphElement);
  private readonly facts = find("facts", HTMLElement);
  private readonly notices = find("notices", HTMLUListElement);
  private readonly status: StatusLine;

  /** @param menu where another package is chosen */
  constructor(menu: PackageMenu) {
    this.status = new StatusLine(find("load-status", HTMLElement), () => menu.select);
  }

  loading(name: string, onStop: () => void): (progress: Progress) => void {
    this.problem.textContent = "";
    this.facts.replaceChildren();
    this.notices.replaceChildren();
    this.status.begin(`Loading ${name}`, onStop);
    // Weights are read while kernels are built, so their news take turns.
    const last: { weights?: Progress; pipelines?: Progress } = {};
    return (progress) => {
      if (progress.stage === "device") return this.status.show("Asking for the GPU");
      last[progress.stage] = progress;
      const { weights, pipelines } = last;
      const parts = [weights && `${megabytes(weights.loaded)} of ${megabytes(weights.total)}`, pipelines && `${pipelines.loaded} of ${pipelines.total} kernels`];
      const share = [weights, pipelines].reduce((sum, each) => sum + (each && each.total > 0 ? each.loaded / each.total : 0) / 2, 0);
      this.status.show("Reading weights, building kernels", { detail: parts.filter(Boolean).join(", "), share });
    };
  }

  loaded({ adapterName, dtype, gpuBytes, milliseconds, classes }: LoadedModel): void {
    this.status.end(`Loaded in ${duration(milliseconds)}, first run included.`);
    fillFacts(this.facts, [
      { term: "Adapter", value: adapterName },
      { term: "Stored as", value: dtype },
      { term: "GPU memory", value: megabytes(gpuBytes) },
      { term: "Classes", value: classes > 0 ? String(classes) : "none" },
    ]);
  }

  failed(message: string, onAgain?: () => void): void {
    this.status.end("", onAgain);
    this.problem.textContent = message;
  }

  stopped(onAgain: () => void): void {
    this.status.end("Stopped.", onAgain);
  }

  notice(text: string): void {
    this.notices.append(h("li", {}, text));
    // A device that is lost again and again has a lot to say.
    while (this.notices.children.length > 4) this.notices.firstElementChild!.remove();
  }
}

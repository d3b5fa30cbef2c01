/** The second tab: two packages on the same photographs, in turns. */
import type { LoadedModel, PackageSource } from "../messages.js";
import { isAbort, messageOf, ModelWorker } from "./client.js";
import { type Latency, type Side, showComparison } from "./comparison.js";
import { find, passFocus } from "./dom.js";
import { PackageMenu, type Packages } from "./packages.js";
import { fetchSample, samples } from "./samples.js";
import { announce, StatusLine } from "./status-line.js";

/** Runs of each package: so many, or as many as fit into the time, and at least `least`. */
const rounds = { most: 30, least: 5, milliseconds: 15_000 } as const;

const loadingOf = (sources: readonly PackageSource[], i: number): string => `Loading ${sources[i]!.name} (${"AB"[i]})`;

export class CompareTab {
  private readonly menus: readonly [PackageMenu, PackageMenu];
  private readonly start = find("compare-start", HTMLButtonElement);
  private readonly stop = find("compare-stop", HTMLButtonElement);
  private readonly problem = find("compare-problem", HTMLParagraphElement);
  private readonly status = new StatusLine(find("compare-status", HTMLElement));
  private readonly results = find("compare-results", HTMLElement);
  private readonly files = find("compare-files", HTMLInputElement);
  private abort = new AbortController();

  constructor(packages: Packages) {
    this.menus = [new PackageMenu({ packages, label: "Package A", selected: 0, dtypes: true }), new PackageMenu({ packages, label: "Package B", selected: 1, dtypes: true })];
    find("menu-a", HTMLElement).append(this.menus[0].element);
    find("menu-b", HTMLElement).append(this.menus[1].element);
    this.files.addEventListener("change", () => this.countPhotographs());
    this.countPhotographs();
    find("compare-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      void this.compare();
    });
    this.stop.addEventListener("click", () => this.abort.abort());
  }

  private countPhotographs(): void {
    const chosen = this.files.files?.length ?? 0;
    find("compare-photographs", HTMLElement).textContent = chosen === 0 ? `The ${samples.length} samples of the first tab.` : `${chosen} chosen.`;
  }

  private async compare(): Promise<void> {
    const [first, second] = [this.menus[0].source, this.menus[1].source];
    this.problem.textContent = "";
    if (first === undefined || second === undefined) {
      this.problem.textContent = "One of the packages has no weights yet: choose its weight file above.";
      return;
    }
    const sources = [first, second];
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.setBusy(true);
    this.status.begin(loadingOf(sources, 0));
    const workers: ModelWorker[] = [];
    try {
      const sides: (Side & { readonly worker: ModelWorker })[] = [];
      for (const [i, source] of sources.entries()) {
        this.status.show(loadingOf(sources, i), { share: i / 4 });
        const worker = new ModelWorker(() => undefined);
        workers.push(worker);
        const loaded: LoadedModel = await worker.call("load", { source, dtype: this.menus[i]!.dtype }, { signal });
        sides.push({ worker, loaded, title: "AB"[i]! });
      }
      const [a, b] = sides as [Side & { readonly worker: ModelWorker }, Side & { readonly worker: ModelWorker }];
      const latency = await this.inTurns(a.worker, b.worker, signal);
      this.status.show("Comparing predictions", { share: 0.95 });
      const photographs = await this.photographs();
      const [left, right] = [await a.worker.call("probabilities", { photographs }, { signal }), await b.worker.call("probabilities", { photographs }, { signal })];
      await showComparison(this.results, { sides: [a, b], latency, photographs, probabilities: [left, right] });
      this.status.end();
      // The tables are there to be read at leisure.
      announce([...this.results.querySelectorAll(".verdict")].map(({ textContent }) => textContent).join(" "));
    } catch (error) {
      this.status.end(isAbort(error) ? "Stopped." : "");
      if (!isAbort(error)) this.problem.textContent = messageOf(error);
    } finally {
      for (const worker of workers) worker.end();
      this.setBusy(false);
    }
  }

  /** A run of each in turn, and who goes first changes: the one behind may find caches warm or a clock risen. */
  private async inTurns(a: ModelWorker, b: ModelWorker, signal: AbortSignal): Promise<Latency> {
    const times: [number[], number[]] = [[], []];
    const began = performance.now();
    for (let round = 0; round < rounds.most && (round < rounds.least || performance.now() - began < rounds.milliseconds); round++) {
      this.status.show("Timing in turns", { detail: `round ${round + 1} of ${rounds.most}`, share: 0.5 + (0.45 * round) / rounds.most });
      for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) times[side as 0 | 1].push(await (side === 0 ? a : b).call("time", {}, { signal }));
    }
    return times;
  }

  private async photographs(): Promise<readonly File[]> {
    const chosen = [...(this.files.files ?? [])];
    return chosen.length > 0 ? chosen : Promise.all(samples.map(fetchSample));
  }

  private setBusy(busy: boolean): void {
    const [off, on] = busy ? [this.start, this.stop] : [this.stop, this.start];
    on.hidden = on.disabled = false;
    // Only if it has it: somebody may have gone elsewhere meanwhile.
    passFocus(off, on);
    off.disabled = true;
    this.stop.hidden = !busy;
  }
}

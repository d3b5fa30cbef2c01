/** The first tab: a photograph, what a model sees in it, where it looks, and where its time goes. */
import type { LoadedModel, PackageSource, Predicted } from "../messages.js";
import { AttentionControls } from "./attention-controls.js";
import { setUpCamera } from "./camera.js";
import { isAbort, messageOf, ModelWorker } from "./client.js";
import { find, h, passFocus } from "./dom.js";
import { ModelCard } from "./model-card.js";
import { duration, percent } from "./numbers.js";
import { PackageMenu, type Packages } from "./packages.js";
import { fetchSample, samples } from "./samples.js";
import { Stage } from "./stage.js";
import { announce, StatusLine } from "./status-line.js";
import { Timeline } from "./timeline.js";

interface Photograph {
  readonly file: File;
  readonly width: number;
  readonly height: number;
}

const timedRuns = 20;

export class PhotographTab {
  private readonly stage = new Stage(() => void this.showAttention());
  private readonly attention = new AttentionControls(this.stage, () => void this.showAttention());
  private readonly card: ModelCard;
  private readonly timeline = new Timeline();
  private readonly top = find("top", HTMLOListElement);
  private readonly runNote = find("run-note", HTMLParagraphElement);
  private readonly problem = find("photograph-problem", HTMLParagraphElement);
  private readonly measure = find("measure", HTMLButtonElement);
  private readonly lose = find("lose", HTMLButtonElement);
  private worker: ModelWorker | undefined;
  private loaded: LoadedModel | undefined;
  private photograph: Photograph | undefined;
  /** Photographs that were given so far. */
  private taken = 0;
  private loading = new AbortController();
  private predicting = new AbortController();

  constructor(packages: Packages) {
    const menu = new PackageMenu({ packages, label: "Package", selected: 0, onChoose: (source) => void this.load(source) });
    this.card = new ModelCard(menu);
    find("model-menu", HTMLElement).append(menu.element);
    const file = find("file", HTMLInputElement);
    file.addEventListener("change", () => {
      const [chosen] = file.files ?? [];
      if (chosen) void this.take(chosen);
      file.value = "";
    });
    setUpCamera((photograph) => void this.take(photograph));
    find("samples", HTMLUListElement).append(
      ...samples.map((sample) => {
        const button = h("button", { type: "button", "aria-label": `Sample: ${sample.name}` }, h("img", { src: sample.address, alt: "", width: 44, height: 44 }));
        button.addEventListener("click", () => void this.takeSample(sample));
        return h("li", {}, button);
      }),
    );
    this.measure.addEventListener("click", () => void this.time());
    this.lose.addEventListener("click", () => {
      this.worker?.call("lose", {}).catch((error: unknown) => isAbort(error) || this.card.failed(messageOf(error)));
    });
    this.stage.setPatches(undefined);
  }

  async start(source: PackageSource): Promise<void> {
    await Promise.all([this.takeSample(samples[0]!), this.load(source)]);
  }

  private async takeSample(sample: (typeof samples)[number]): Promise<void> {
    const taken = ++this.taken;
    try {
      const file = await fetchSample(sample);
      if (taken === this.taken) await this.take(file);
    } catch (error) {
      if (taken === this.taken) this.problem.textContent = messageOf(error);
    }
  }

  /** Shows a photograph at once, and runs it when there is a model. */
  async take(file: File): Promise<void> {
    this.problem.textContent = "";
    const taken = ++this.taken;
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      if (taken === this.taken) this.problem.textContent = `${file.name || "This file"} is no photograph that this browser can decode: JPEG, PNG, WebP, GIF and AVIF are.`;
      return;
    }
    // One that came later may have been decoded sooner.
    if (taken !== this.taken) return bitmap.close();
    this.photograph = { file, width: bitmap.width, height: bitmap.height };
    this.stage.setPatches(undefined);
    this.stage.draw(bitmap, file.name || "pasted");
    bitmap.close();
    await this.predict();
  }

  private async load(source: PackageSource): Promise<void> {
    this.loading.abort();
    this.worker?.end();
    const loading = new AbortController();
    this.loading = loading;
    this.loaded = undefined;
    this.measure.disabled = this.lose.disabled = true;
    this.timeline.clear("Shown when the model is loaded.");
    this.clearResults("Shown when the model is loaded.");
    this.attention.clear();
    this.stage.setPatches(undefined);
    const worker = new ModelWorker((notice) => this.worker === worker && this.card.notice(notice));
    this.worker = worker;
    const onProgress = this.card.loading(source.name, () => loading.abort());
    try {
      const canvas = this.stage.freshOverlay();
      await worker.call("canvas", { canvas }, { transfer: [canvas], signal: loading.signal });
      const loaded = await worker.call("load", { source, dtype: "auto" }, { signal: loading.signal, onProgress });
      this.loaded = loaded;
      this.card.loaded(loaded);
      this.attention.setMaps(loaded.maps);
      if (loaded.profile) this.timeline.show(loaded.profile);
      else this.timeline.clear("This package was compiled by an older vitc, which times no dispatches.");
      this.measure.disabled = loaded.profile === undefined;
      this.lose.disabled = false;
    } catch (error) {
      // What replaced this worker says what it does.
      if (this.worker !== worker) return;
      worker.end();
      this.worker = undefined;
      const again = (): void => void this.load(source);
      this.clearResults("");
      this.timeline.clear("Load a model to see its dispatches.");
      if (isAbort(error)) this.card.stopped(again);
      else this.card.failed(messageOf(error), again);
      return;
    }
    await this.predict();
  }

  private async predict(): Promise<void> {
    this.predicting.abort();
    const { worker, photograph } = this;
    if (worker === undefined || this.loaded === undefined || photograph === undefined) return;
    const predicting = new AbortController();
    this.predicting = predicting;
    document.body.dataset["running"] = "true";
    try {
      const { file, width, height } = photograph;
      const predicted = await worker.call("predict", { photograph: file, width, height }, { signal: predicting.signal });
      this.showPrediction(predicted);
      this.stage.setPatches(predicted.grid && { grid: predicted.grid, area: predicted.area });
      await this.showAttention();
    } catch (error) {
      if (predicting.signal.aborted || this.worker !== worker) return;
      this.clearResults("");
      this.attention.forget();
      this.problem.textContent = messageOf(error);
    } finally {
      if (this.predicting === predicting) delete document.body.dataset["running"];
    }
  }

  private showPrediction({ top, milliseconds }: Predicted): void {
    this.top.replaceChildren(
      ...top.map(({ label, index, probability }) => {
        const bar = h("i", { "aria-hidden": "true" });
        bar.style.setProperty("--share", String(probability));
        return h("li", {}, h("span", { class: "label" }, label ?? `class ${index}`), h("data", { value: probability }, percent(probability)), bar);
      }),
    );
    this.top.hidden = top.length === 0;
    const none = this.loaded?.classes === 0 ? "This model has no classes; its features have no names to show. " : "";
    this.runNote.textContent = `${none}${duration(milliseconds)} on ${this.loaded?.adapterName ?? "this device"}, from the image file to the results.`;
  }

  /** @param why there are none */
  private clearResults(why: string): void {
    this.top.replaceChildren();
    this.top.hidden = false;
    this.runNote.textContent = why;
  }

  private async showAttention(): Promise<void> {
    const { worker, loaded } = this;
    if (worker === undefined || loaded === undefined) return;
    const { view } = this.attention;
    try {
      const seen = await worker.call("show", { ...view, size: this.stage.size });
      this.stage.reveal();
      this.attention.describe(view, seen);
      // Tests wait for it: the overlay of this choice is there.
      find("stage", HTMLElement).dataset["shown"] = JSON.stringify(view);
    } catch (error) {
      if (!isAbort(error)) this.problem.textContent = messageOf(error);
    }
  }

  private async time(): Promise<void> {
    const { worker } = this;
    if (worker === undefined) return;
    const status = new StatusLine(find("measure-status", HTMLElement), () => this.measure);
    const abort = new AbortController();
    const stop = status.begin(`Timing ${timedRuns} runs`, () => abort.abort())!;
    passFocus(this.measure, stop);
    this.measure.disabled = true;
    let failure = "";
    try {
      const profile = await worker.call("profile", { runs: timedRuns }, { signal: abort.signal });
      announce(this.timeline.show(profile));
    } catch (error) {
      if (!isAbort(error)) failure = messageOf(error);
    } finally {
      // Before the button that stops goes away, so that it can take the focus.
      this.measure.disabled = this.loaded === undefined || this.worker !== worker;
      status.end(failure);
    }
  }
}

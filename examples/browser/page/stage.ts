/** The photograph, the worker's overlay above it, and the choice of a patch by pointer and by keys. */
import type { Area, Grid, OverlaySize } from "../messages.js";
import { find, h } from "./dom.js";

/** Where the model's patches lie on the photograph. */
interface Patches {
  readonly grid: Grid;
  readonly area: Area;
}

/** Longer sides are drawn smaller: nobody sees more on a page. */
const longestSide = 1400;

export class Stage {
  /** A patch that is chosen, counted row by row. */
  patch: number | undefined;
  private readonly stage = find("stage", HTMLElement);
  private readonly picture = find("picture", HTMLCanvasElement);
  private readonly handle = find("patches", HTMLElement);
  private overlay = h("canvas", { class: "overlay", "aria-hidden": "true" });
  private patches: Patches | undefined;

  constructor(private readonly onPatch: () => void) {
    this.picture.after(this.overlay);
    this.handle.addEventListener("click", (event) => this.pointed(event));
    this.handle.addEventListener("keydown", (event) => this.pressed(event));
    // Hidden with its tab it has no size, and nothing to be drawn in.
    new ResizeObserver(() => this.patches && this.picture.clientWidth > 0 && this.onPatch()).observe(this.picture);
  }

  /** A new overlay, for another worker to draw on: a canvas is handed over once. */
  freshOverlay(): OffscreenCanvas {
    const fresh = h("canvas", { class: "overlay", "aria-hidden": "true" });
    this.overlay.replaceWith(fresh);
    this.overlay = fresh;
    return fresh.transferControlToOffscreen();
  }

  /** Device pixels of the overlay. */
  get size(): OverlaySize {
    const { width, height } = this.picture.getBoundingClientRect();
    return { width: Math.max(1, Math.round(width * devicePixelRatio)), height: Math.max(1, Math.round(height * devicePixelRatio)) };
  }

  draw(bitmap: ImageBitmap, name: string): void {
    const shrink = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height));
    this.picture.width = Math.max(1, Math.round(bitmap.width * shrink));
    this.picture.height = Math.max(1, Math.round(bitmap.height * shrink));
    // Small pictures are drawn large; a canvas has no size of its own in the layout but this one.
    this.picture.parentElement!.style.setProperty("--shape", String(bitmap.width / bitmap.height));
    this.picture.getContext("2d")!.drawImage(bitmap, 0, 0, this.picture.width, this.picture.height);
    this.picture.setAttribute("aria-label", `Photograph: ${name}`);
    this.stage.classList.add("filled");
  }

  /** Patches that can be chosen from now on, or none. */
  setPatches(patches: Patches | undefined): void {
    const before = this.patches?.grid;
    this.patches = patches;
    if (patches === undefined || patches.grid.rows !== before?.rows || patches.grid.columns !== before.columns) this.patch = undefined;
    // Not hidden, while there are none: whoever walks over the patches of one photograph goes on with the next.
    this.handle.tabIndex = patches === undefined ? -1 : 0;
    this.handle.setAttribute("aria-disabled", String(patches === undefined));
    if (patches === undefined) this.stage.classList.remove("seen");
  }

  /** The overlay is of this photograph now; until then the one of the photograph before is not shown above it. */
  reveal(): void {
    this.stage.classList.toggle("seen", this.patches !== undefined);
  }

  /** Row and column of a patch, from 1. */
  placeOf(patch: number): string {
    const columns = this.patches?.grid.columns ?? 1;
    return `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  }

  private pointed({ clientX, clientY }: MouseEvent): void {
    if (this.patches === undefined) return;
    const { grid: { rows, columns }, area } = this.patches;
    const box = this.picture.getBoundingClientRect();
    const column = Math.floor((((clientX - box.left) / box.width - area.left) / area.width) * columns);
    const row = Math.floor((((clientY - box.top) / box.height - area.top) / area.height) * rows);
    const inside = row >= 0 && row < rows && column >= 0 && column < columns;
    const patch = inside ? row * columns + column : undefined;
    this.choose(patch === this.patch ? undefined : patch);
  }

  private pressed(event: KeyboardEvent): void {
    if (this.patches === undefined) return;
    const { rows, columns } = this.patches.grid;
    const steps: Readonly<Record<string, readonly [down: number, right: number]>> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (event.key === "Escape") this.choose(undefined);
    else if (step === undefined) return;
    else if (this.patch === undefined) this.choose(Math.floor(rows / 2) * columns + Math.floor(columns / 2));
    else {
      const row = Math.min(rows - 1, Math.max(0, Math.floor(this.patch / columns) + step[0]));
      const column = Math.min(columns - 1, Math.max(0, (this.patch % columns) + step[1]));
      this.choose(row * columns + column);
    }
    event.preventDefault();
  }

  choose(patch: number | undefined): void {
    if (patch === this.patch) return;
    this.patch = patch;
    this.onPatch();
  }
}

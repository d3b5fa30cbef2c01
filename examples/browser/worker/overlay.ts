/** Attention over a photograph: where little of it goes the photograph is veiled, where much goes it shines through, warm. */
import type { Area, Grid, OverlaySize } from "../messages.js";

export interface Overlay {
  /** Shares by patch, row by row; empty draws none. */
  readonly weights: Float32Array;
  readonly grid: Grid | undefined;
  /** Where the patches lie, in shares of the canvas. */
  readonly area: Area;
  /** A patch that is outlined. */
  readonly patch: number | undefined;
}

const outside = "rgb(12 12 16 / 55%)";
/** Opacity of the veil where nothing goes, and of the glow where most goes. */
const veil = 0.72;
const glow = 0.34;

/** Draws an overlay, and nothing but it: the photograph lies on a canvas of the page's, below. */
export function drawOverlay(canvas: OffscreenCanvas, { width, height }: OverlaySize, { weights, grid, area, patch }: Overlay): void {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (context === null) return;
  if (grid === undefined) return;
  const box = { left: area.left * width, top: area.top * height, width: area.width * width, height: area.height * height };
  if (weights.length > 0) {
    context.fillStyle = outside;
    context.fillRect(0, 0, width, height);
    context.clearRect(box.left, box.top, box.width, box.height);
  }
  const most = weights.reduce((largest, weight) => Math.max(largest, weight), 0);
  // Edges on whole pixels: neighbours neither overlap nor leave a seam.
  const x = (column: number): number => Math.round(box.left + (column * box.width) / grid.columns);
  const y = (row: number): number => Math.round(box.top + (row * box.height) / grid.rows);
  weights.forEach((weight, i) => {
    const [row, column] = [Math.floor(i / grid.columns), i % grid.columns];
    const share = most > 0 ? weight / most : 0;
    const cell = [x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row)] as const;
    context.fillStyle = `rgb(12 12 24 / ${(veil * (1 - share)).toFixed(3)})`;
    context.fillRect(...cell);
    context.fillStyle = `rgb(255 122 24 / ${(glow * share * share).toFixed(3)})`;
    context.fillRect(...cell);
  });
  if (patch === undefined) return;
  const [row, column] = [Math.floor(patch / grid.columns), patch % grid.columns];
  const line = Math.max(2, Math.round(Math.min(width, height) / 180));
  const outline = (color: string, inset: number): void => {
    context.strokeStyle = color;
    context.lineWidth = line;
    context.strokeRect(x(column) + inset, y(row) + inset, x(column + 1) - x(column) - 2 * inset, y(row + 1) - y(row) - 2 * inset);
  };
  // White in black is seen on any ground.
  outline("#000", -line / 2);
  outline("#fff", line / 2);
}

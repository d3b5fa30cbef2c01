import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SpecError } from "../../spec/errors.js";
import type { Column, Row } from "../row.js";
import { better, checked, chosen, frameOf, isDrawn } from "./choose.js";
import { scatterChart } from "./client/scatter-chart.js";
import { themeOf } from "./client/theme.js";
import { tokensChart } from "./client/tokens-chart.js";
import { drawSvg } from "./library.js";
import { knownColumns } from "./pack.js";

export interface ScatterOptions {
  /** Names of columns with numbers. Where `p50_ms` was not measured, a row stands where it is predicted. */
  readonly x: string;
  readonly y: string;
  /** A column, for colours; without it all are alike. */
  readonly color?: string;
  /** Whether to draw the Pareto front: of the ends that the columns want, `less` where they want neither. */
  readonly pareto: boolean;
  /** In pixels; 900 by 560 without them. */
  readonly width?: number;
  readonly height?: number;
}

/**
 * The scatter plot of the page as an SVG file on white ground. Rows that lack one of the numbers are left out. The same rows give
 * the same text.
 * @throws SpecError when a column is not there or has no numbers, or a size is out of range
 */
export function scatterSvg(rows: readonly Row[], columns: readonly Column[], { x, y, color, pareto, ...size }: ScatterOptions): string {
  const { good, known, numeric } = drawable(rows, columns);
  for (const [field, name] of [["x", x], ["y", y]] as const) checked(field, name, numeric, known);
  if (color !== undefined && color !== "") checked("color", color, known, known);
  const choice = { x, y, color: color ?? "", front: pareto ? { x: better(known, x), y: better(known, y) } : null, predictions: true, logX: null, logY: null };
  const { option } = scatterChart(frameOf(good, known), good.map((_, i) => i), choice, themeOf(false), null);
  return drawn(option, size);
}

/**
 * A cost by tokens over attention's share by tokens, as an SVG file: what a higher resolution or a smaller patch costs, and why.
 * @throws SpecError when a column is not there or has no numbers, or a size is out of range
 */
export function tokensSvg(rows: readonly Row[], columns: readonly Column[], { y, color, ...size }: Pick<ScatterOptions, "y" | "color" | "width" | "height">): string {
  const { good, known, numeric } = drawable(rows, columns);
  for (const [field, name] of [["x", "tokens"], ["y", y]] as const) checked(field, name, numeric, known);
  if (color !== undefined && color !== "") checked("color", color, known, known);
  const { option } = tokensChart(frameOf(good, known), good.map((_, i) => i), { y, color: color ?? "", predictions: true }, themeOf(false));
  return drawn(option, size);
}

/** What a page of these rows would show in its plot: `asked` as far as it goes. @throws SpecError when it names what cannot be drawn */
export function defaultPlot(rows: readonly Row[], columns: readonly Column[], asked: { readonly x?: string; readonly y?: string; readonly color?: string }): { readonly x: string; readonly y: string; readonly color: string } {
  const { good, known } = drawable(rows, columns);
  if (good.length === 0) throw new SpecError([{ field: "rows", message: "there are none with numbers to draw" }]);
  const { x, y, color } = chosen(good, known, asked);
  return { x, y, color };
}

function drawable(rows: readonly Row[], columns: readonly Column[]): { readonly good: readonly Row[]; readonly known: readonly Column[]; readonly numeric: readonly Column[] } {
  const good = rows.filter(isDrawn);
  const known = knownColumns(good, columns);
  const predicted = known.some(({ name }) => name === "predicted_ms");
  const p50 = columns.filter(({ name }) => name === "p50_ms" && predicted && !known.some((column) => column.name === name));
  const all = [...known, ...p50];
  return { good, known: all, numeric: all.filter(({ name }) => p50.some((column) => column.name === name) || good.some((row) => typeof row[name] === "number")) };
}

function drawn(option: object, { width = 900, height = 560 }: { readonly width?: number; readonly height?: number }): string {
  for (const [field, value] of [["width", width], ["height", height]] as const) {
    if (!Number.isInteger(value) || value < 200 || value > 8000) throw new SpecError([{ field, message: `${value} is not a whole number of pixels from 200 to 8000` }]);
  }
  return drawSvg({ ...option, backgroundColor: "#ffffff" }, width, height);
}

/** The font of PNG files, whatever fonts a machine has. */
const font = "@expo-google-fonts/open-sans/400Regular/OpenSans_400Regular.ttf";

let fonts: Promise<void> | undefined;

/** An SVG file of this module as a PNG of twice its size, the same on every machine. */
export async function svgToPng(svg: string): Promise<Uint8Array> {
  // sharp loads a native library, which few commands need.
  const { default: sharp } = await import("sharp");
  const render = async (text: string): Promise<Uint8Array> => new Uint8Array(await sharp(Buffer.from(text), { density: 144 }).png().toBuffer());
  fonts ??= loadFont(render);
  await fonts;
  return render(svg);
}

/**
 * librsvg takes fonts through fontconfig, which reads its configuration when the process draws its first text. A machine may have no font,
 * and text be boxes, so that first text is drawn with a configuration of one font, which stays for the rest of the process.
 */
async function loadFont(render: (svg: string) => Promise<Uint8Array>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vitc-font-"));
  const before = process.env["FONTCONFIG_FILE"];
  try {
    const file = join(folder, "fonts.conf");
    const escaped = (path: string): string => path.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    await writeFile(file, `<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n<fontconfig><dir>${escaped(dirname(createRequire(import.meta.url).resolve(font)))}</dir><cachedir>${escaped(join(folder, "cache"))}</cachedir></fontconfig>\n`);
    process.env["FONTCONFIG_FILE"] = file;
    await render('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><text y="8" font-family="sans-serif">v</text></svg>');
  } finally {
    if (before === undefined) delete process.env["FONTCONFIG_FILE"];
    else process.env["FONTCONFIG_FILE"] = before;
    await rm(folder, { recursive: true, force: true });
  }
}

import type { ResolvedSpec } from "../../spec/resolve.js";
import { by, count } from "../format.js";
import { attentionWords, blockWords, mlpWords, normWords, outputWords, poolWords, positionWords, prefixWords, resultWords } from "../words.js";
import { markup, type Markup } from "./markup.js";

/** Lines that a drawing of the patch grid shows at most; the caption has the true numbers. */
const mostCells = 40;

/** The way of an image through the model, as a row of figures: image, patches, tokens, blocks, head. */
export function glance(spec: ResolvedSpec): Markup {
  return markup`<ol class="flow">${[image(spec), ...(spec.stem.length > 0 ? [stem(spec)] : []), patches(spec), tokens(spec), blocks(spec), head(spec)]}</ol>`;
}

function figure(title: string, drawing: Markup, facts: readonly string[]): Markup {
  return markup`<li><figure><div class="drawing">${drawing}</div><figcaption><strong>${title}</strong>${facts.map((fact) => markup`<span>${fact}</span>`)}</figcaption></figure></li>`;
}

function image({ image: [height, width], channels }: ResolvedSpec): Markup {
  const [w, h] = fitted(width, height);
  const kind = channels === 3 ? "RGB" : channels === 1 ? "gray" : `${count(channels)} channels`;
  return figure("Image", markup`<svg viewBox="0 0 ${w} ${h}" aria-hidden="true"${channels === 1 ? grayScale : ""}>${scene(w, h, "whole")}</svg>`, [`${height} × ${width} pixels`, kind]);
}

const grayScale = markup` class="gray"`;

function stem(spec: ResolvedSpec): Markup {
  const sheets = spec.stem.slice(0, 4).map((_, i) => markup`<rect x="${60 - 11 * Math.min(4, spec.stem.length) + i * 22}" y="${18 + i * 6}" width="18" height="${84 - i * 12}" rx="2" class="sheet"/>`);
  const layers = spec.stem.map(({ channels, kernel, stride }) => `${kernel} × ${kernel}, stride ${stride}: ${channels}`);
  return figure("Stem", markup`<svg viewBox="0 0 120 120" aria-hidden="true">${sheets}</svg>`, [`map ${by(spec.geometry.map, "×")}`, ...layers.slice(0, 4), ...(layers.length > 4 ? [`… ${layers.length} convolutions`] : [])]);
}

function patches({ image: [height, width], channels, patch, geometry: { grid, patches, map }, stem }: ResolvedSpec): Markup {
  const [w, h] = fitted(width, height);
  const [rows, columns] = grid.map((n) => Math.min(n, mostCells)) as [number, number];
  const [cellWidth, cellHeight] = [w / columns, h / rows];
  const gap = Math.min(cellWidth, cellHeight) * 0.14;
  const drawing = markup`<svg viewBox="0 0 ${w} ${h}" aria-hidden="true"${channels === 1 ? grayScale : ""}><defs><pattern id="cells" width="${cellWidth}" height="${cellHeight}" patternUnits="userSpaceOnUse"><rect x="${gap / 2}" y="${gap / 2}" width="${cellWidth - gap}" height="${cellHeight - gap}" fill="#fff"/></pattern><mask id="tiles"><rect width="${w}" height="${h}" fill="url(#cells)"/></mask></defs><g mask="url(#tiles)">${scene(w, h, "cut")}</g></svg>`;
  const values = map[0] * patch[0] * patch[1];
  return figure("Patches", drawing, [`${by(grid, "×")} = ${count(patches)}`, `${by(patch, "×")} ${stem.length > 0 ? "positions" : "pixels"}, ${count(values)} values each`]);
}

/** Prefix tokens that a drawing shows at most. */
const mostPrefix = 5;

function tokens(spec: ResolvedSpec): Markup {
  const { dim, geometry } = spec;
  const prefix = Math.min(geometry.prefix, mostPrefix);
  const shown = 11 - prefix;
  const columns = Array.from({ length: prefix + shown }, (_, i) => {
    const own = i < prefix;
    // A gap before the last column stands for the patches that are not drawn.
    const x = i * 10 + (own ? 0 : 4) + (i === prefix + shown - 1 ? 8 : 0);
    return markup`<rect x="${x}" y="14" width="7" height="92" rx="2" class="${own ? "token own" : "token"}"${own ? "" : shade(i, shown)}/>`;
  });
  const made = [...prefixWords(spec), `${count(geometry.patches)} patches`].join(" + ");
  return figure("Tokens", markup`<svg viewBox="-2 0 128 120" aria-hidden="true">${columns}</svg>`, [`${count(geometry.tokens)} of width ${count(dim)}`, made, ...positionWords(spec)]);
}

const shade = (i: number, of: number): Markup => markup` style="opacity:${(0.45 + (0.5 * ((i * 7) % of)) / of).toFixed(2)}"`;

function blocks(spec: ResolvedSpec): Markup {
  const { depth, heads, headDim, mlp } = spec;
  const drawn = Math.min(depth, 12);
  const step = Math.min(9, 62 / drawn);
  const slabs = Array.from({ length: drawn }, (_, i) => {
    const y = 60 + ((drawn - 1) * step) / 2 - i * step;
    return markup`<path d="M10 ${y} l50 -18 l50 18 l-50 18 z" class="slab"/>`;
  });
  return figure(`${count(depth)} ${depth === 1 ? "block" : "blocks"}`, markup`<svg viewBox="0 0 120 120" aria-hidden="true">${slabs}</svg>`, [
    ...blockWords(spec),
    [`attention: ${heads} ${heads === 1 ? "head" : "heads"} of ${headDim}`, ...attentionWords(spec)].join(", "),
    [`MLP: ${count(mlp.hidden)}, ${mlp.activation.replace("_", " ")}`, ...mlpWords(spec)].join(", "),
    ...normWords(spec),
  ]);
}

function head(spec: ResolvedSpec): Markup {
  const { classes, pool, representation, labels } = spec;
  const heights = [14, 26, 9, 78, 20, 34, 12, 18];
  const bars = heights.map((height, i) => markup`<rect x="${10 + i * 13}" y="${104 - height}" width="9" height="${height}" rx="2" class="${i === 3 && classes > 0 ? "score best" : "score"}"/>`);
  const facts = [
    poolWords(spec),
    ...(representation > 0 ? [`tanh layer of ${count(representation)}`] : []),
    resultWords(spec),
    ...(labels.length > 0 ? [`${labels.slice(0, 3).join(", ")}${labels.length > 3 ? ", …" : ""}`] : []),
    ...outputWords(spec),
  ];
  return figure(classes > 0 ? "Head" : pool === "none" ? "Result" : "Features", markup`<svg viewBox="0 0 120 120" aria-hidden="true">${bars}</svg>`, facts);
}

/** Width and height of a drawing, 120 at most, with the image's proportions as far as they stay readable. */
function fitted(width: number, height: number): readonly [number, number] {
  const ratio = Math.min(4, Math.max(0.25, width / height));
  return ratio >= 1 ? [120, Math.round(120 / ratio)] : [Math.round(120 * ratio), 120];
}

/** A landscape to cut into patches. */
function scene(w: number, h: number, id: string): Markup {
  const at = (x: number, y: number) => `${(x * w).toFixed(1)} ${(y * h).toFixed(1)}`;
  return markup`<defs><linearGradient id="sky-${id}" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#3d7fc4"/><stop offset=".62" stop-color="#f6c391"/></linearGradient></defs><rect width="${w}" height="${h}" fill="url(#sky-${id})"/><circle cx="${w * 0.68}" cy="${h * 0.42}" r="${Math.min(w, h) * 0.12}" fill="#ffe9b0"/><path d="M${at(0, 0.72)} L${at(0.24, 0.4)} L${at(0.42, 0.62)} L${at(0.6, 0.46)} L${at(1, 0.76)} V${h} H0 Z" fill="#5b6b8c"/><path d="M${at(0, 0.82)} Q${at(0.3, 0.64)} ${at(0.58, 0.8)} T${at(1, 0.74)} V${h} H0 Z" fill="#3f7d58"/><path d="M${at(0.2, 1)} Q${at(0.5, 0.84)} ${at(1, 0.92)} V${h} Z" fill="#2c5c46"/>`;
}

import type { ArenaReport, LifetimeReport, ProfileReport, StageReport } from "../report.js";
import { representative } from "../stages.js";
import { bytes, plural } from "../format.js";
import { markup, type Markup } from "./markup.js";

// Sizes in CSS pixels; the drawing scrolls sideways when it is wider than the page.
const left = 104;
const top = 118;
const column = { least: 26, most: 44, wanted: 900, rest: 96 } as const;
const arenaHeight = { least: 30, most: 150, gap: 14 } as const;
/** Of the drawing's letters, for what fits into a rectangle. */
const letter = 6.4;

/** Where the columns of the drawing are: one a dispatch, and one for all blocks that do the same as those drawn. */
interface Columns {
  readonly width: number;
  readonly each: number;
  readonly drawn: readonly number[];
  /** Left and right edge of the column in which dispatch `index` is. */
  span(index: number): readonly [number, number];
  /** The blocks that are not drawn one by one. */
  readonly rest: readonly { readonly stage: StageReport; readonly x: number; readonly blocks: number }[];
  isHidden(index: number): boolean;
}

/** Activation memory over time: a rectangle a value, as wide as it lives and as high as it is large. */
export function timeline(profile: ProfileReport): Markup {
  const columns = layOut(profile);
  const largest = Math.max(...profile.arenas.map((arena) => arena.bytes));
  let y = top;
  const lanes = profile.arenas.map((arena) => {
    const height = Math.max(arenaHeight.least, (arenaHeight.most * arena.bytes) / largest);
    const lane = markup`<g transform="translate(0 ${y})"><rect class="lane" x="${left}" width="${columns.width - left}" height="${height.toFixed(1)}"/><text class="arena" x="0" y="14">${arena.name}</text><text class="size" x="0" y="29">${bytes(arena.bytes)}</text>${arena.values.map((value) => valueOf(value, arena, height, columns, profile))}</g>`;
    y += height + arenaHeight.gap;
    return lane;
  });
  const headings = columns.drawn.map((index) => {
    const middle = columns.span(index)[0] + columns.each / 2;
    return markup`<text class="step" transform="translate(${middle.toFixed(1)} ${top - 10}) rotate(-50)">${shortName(profile.dispatches[index]!.label)}</text>`;
  });
  const rests = columns.rest.map(({ x, blocks }) => markup`<rect class="rest" x="${x}" y="${top - 4}" width="${column.rest}" height="${(y - top - arenaHeight.gap + 8).toFixed(1)}"/><text class="more" x="${x + column.rest / 2}" y="${top - 14}">${plural(blocks, "block")} alike</text>`);
  const total = profile.arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="Activation memory over time"><svg class="timeline" width="${columns.width}" height="${y.toFixed(0)}" role="img" aria-label="${plural(profile.arenas.length, "arena")}, ${bytes(total)} in all; the same as a table follows">${brackets(profile, columns)}${headings}${lanes}${rests}</svg></div>
${valueTable(profile)}`;
}

function layOut(profile: ProfileReport): Columns {
  const { dispatches, stages } = profile;
  const hidden = new Set<number>();
  const restAt = new Map<number, { stage: StageReport; blocks: number }>();
  for (const stage of stages) {
    if (stage.repeats < 4 || !sameMemory(stage, profile)) continue;
    const from = stage.first + stage.count;
    const to = stage.first + (stage.repeats - 1) * stage.count;
    for (let index = from; index < to; index++) hidden.add(index);
    restAt.set(from, { stage, blocks: stage.repeats - 2 });
  }
  const drawn = dispatches.map(({ index }) => index).filter((index) => !hidden.has(index));
  const each = Math.min(column.most, Math.max(column.least, Math.floor((column.wanted - restAt.size * column.rest) / drawn.length)));
  const spans: (readonly [number, number])[] = [];
  const rest: { stage: StageReport; x: number; blocks: number }[] = [];
  let x = left;
  for (const { index } of dispatches) {
    const begins = restAt.get(index);
    if (begins) {
      rest.push({ ...begins, x });
      x += column.rest;
    }
    if (hidden.has(index)) spans.push([x - column.rest, x]);
    else {
      spans.push([x, x + each]);
      x += each;
    }
  }
  return { width: x, each, drawn, rest, span: (index) => spans[Math.min(index, spans.length - 1)]!, isHidden: (index) => hidden.has(index) };
}

/** Whether all blocks of a stage but the last leave the same values in the same places. */
function sameMemory({ first, count, repeats }: StageReport, { arenas }: ProfileReport): boolean {
  const patterns = Array.from({ length: repeats - 1 }, () => [] as unknown[]);
  for (const { name, values } of arenas) {
    for (const { from, to, offset, bytes } of values) {
      const block = Math.floor((from - first) / count);
      patterns[from < first ? -1 : block]?.push([name, offset, bytes, from - first - block * count, to - from]);
    }
  }
  const texts = patterns.map((pattern) => JSON.stringify(pattern));
  return texts.every((text) => text === texts[0]);
}

function valueOf(value: LifetimeReport, arena: ArenaReport, height: number, columns: Columns, { dispatches, stages }: ProfileReport): Markup | undefined {
  const { label, kind, from, to, offset, inPlace, scratch, outputs } = value;
  const last = Math.min(to, dispatches.length - 1);
  if (columns.isHidden(from) && columns.isHidden(last)) return undefined;
  const [start, end] = [columns.span(from), columns.span(last)];
  // In the column of blocks that are not drawn, a value ends or begins at the edge that it comes from.
  const x = columns.isHidden(from) ? start[1] - 14 : start[0];
  const right = columns.isHidden(last) ? end[0] + 14 : end[1];
  const scale = height / arena.bytes;
  const [y, tall] = [offset * scale, Math.max(4, value.bytes * scale)];
  const wide = right - x - 2;
  const text = fit(`${inPlace ? "+ " : ""}${shortName(label)}${scratch ? " (scratch)" : ""}`, wide - 8);
  const shown = tall >= 16 && wide >= 24;
  const until = outputs.length > 0 ? `the end, as output ${outputs.join(", ")}` : dispatches[last]!.label;
  const title = `${label} [${value.shape.join(", ")}], ${bytes(value.bytes)} at byte ${offset} of ${arena.name}${inPlace ? ", updated in place" : ""}${scratch ? ", scratch memory" : ""}: from ${dispatches[from]!.label} to ${until}`;
  return markup`<g class="value k-${kind}" data-dispatch="${representative(from, stages)}"><title>${title}</title><rect x="${(x + 1).toFixed(1)}" y="${y.toFixed(1)}" width="${wide.toFixed(1)}" height="${tall.toFixed(1)}" rx="3"/>${shown && markup`<text x="${(x + 6).toFixed(1)}" y="${(y + Math.min(tall / 2 + 4, 16)).toFixed(1)}">${text}</text>`}</g>`;
}

/** The names of the stages above their columns. */
function brackets({ stages }: ProfileReport, columns: Columns): Markup {
  return markup`${stages.flatMap(({ name, first, count, repeats, block }) => {
    const starts = name === "blocks" ? Array.from({ length: repeats }, (_, i) => i).filter((i) => !columns.isHidden(first + i * count)) : [0];
    return starts.map((i) => {
      const [from, to] = [columns.span(first + i * count)[0], columns.span(first + (i + 1) * count - 1)[1]];
      const title = name === "blocks" ? `block ${(block ?? 0) + i}` : name;
      return markup`<path class="bracket" d="M${from + 2} 26 v-6 H${to - 2} v6"/><text class="part" x="${(from + to) / 2}" y="14">${fit(title, to - from)}</text>`;
    });
  })}`;
}

/** The drawing's content for those who cannot see it, and for copying. */
function valueTable({ arenas, dispatches, stages }: ProfileReport): Markup {
  const rows = arenas.flatMap((arena) => arena.values.map((value) => ({ arena, value }))).filter(({ value }) => representative(value.from, stages) === value.from);
  const end = (to: number) => dispatches[to]?.label ?? "the end";
  return markup`<details><summary>The same as a table (the first of equal blocks)</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of values in memory"><table><caption>Values in activation memory</caption><thead><tr><th scope="col">Value</th><th scope="col">Arena</th><th scope="col" class="number">Offset</th><th scope="col" class="number">Size</th><th scope="col">Until</th></tr></thead>
<tbody>${rows.map(({ arena, value }) => markup`<tr><th scope="row">${value.label}${value.scratch && " (scratch)"}</th><td>${arena.name}</td><td class="number">${value.offset}</td><td class="number">${bytes(value.bytes)}</td><td>${end(value.to)}</td></tr>`)}</tbody></table></div></details>`;
}

const shortName = (label: string): string => label.replace(/^blocks\.\d+\./, "").replace(/^patch_embed\./, "");

function fit(text: string, width: number): string {
  const most = Math.floor(width / letter);
  return text.length <= most ? text : most < 3 ? "" : `${text.slice(0, most - 1)}…`;
}

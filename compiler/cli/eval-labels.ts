/** Images with their labels: a CSV file, or a folder with one folder a class. */
import { CsvError, parse } from "csv-parse/sync";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, extname, join, relative, resolve } from "node:path";
import { longestName, nearest, show } from "../spec/errors.js";
import { UserError } from "./context.js";
import { some } from "./format.js";
import type { ImageFile } from "./run-inputs.js";

/** An image and the class that it is said to show. */
export interface LabelledImage extends ImageFile {
  /** Index of the class. */
  readonly label: number;
}

/** The classes that a label may name. */
export interface Classes {
  /** How many there are. */
  readonly count: number;
  /** Their names, or empty. */
  readonly names: readonly string[];
}

/** What image files are called; in a folder, others are left out. */
const imageEndings: ReadonlySet<string> = new Set([".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif"]);
/** A million rows with long names. More is another kind of file. */
const mostLabelBytes = 256 * 2 ** 20;
/** More mistakes than this are counted instead of listed. */
const listedMistakes = 10;

/**
 * Reads what `--data` names.
 * @param reference a CSV file with the columns path (relative to the file) and label, or a folder whose folders are named after classes.
 * @throws UserError naming the line or folder of everything that is wrong with the labels; whether the images are there is not looked at.
 */
export async function readLabels(reference: string, classes: Classes, cwd: string, onNotice: (notice: string) => void): Promise<readonly LabelledImage[]> {
  const path = resolve(cwd, reference);
  const shown = relative(cwd, path) || ".";
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) throw new UserError(`--data ${reference}: there is no such file or folder; it is a CSV file with the columns path and label, or a folder with one folder a class`);
  if (info.isDirectory()) return readFolders(path, shown, classes, onNotice);
  if (!info.isFile()) throw new UserError(`--data ${reference} is not a regular file`);
  if (info.size > mostLabelBytes) throw new UserError(`--data ${reference} has ${info.size} bytes, which is no list of labels`);
  return parseLabels(decodeText(await readFile(path), shown), path, shown, classes);
}

function decodeText(bytes: Uint8Array, shown: string): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // What follows is said of both.
  }
  throw new UserError(`${shown} is no text in UTF-8; labels are a CSV file with the columns path and label`);
}

/**
 * @param path of the file, absolute: paths in it are relative to its folder.
 * @param shown what messages call it.
 */
export function parseLabels(text: string, path: string, shown: string, classes: Classes): readonly LabelledImage[] {
  const [first, ...others] = parseRows(text, shown);
  const header = first === undefined ? undefined : headerOf(first.cells);
  const rows = first === undefined ? [] : header === undefined ? [first, ...others] : others;
  if (rows.length === 0) throw new UserError(`${shown} holds no images: each line is path,label`);
  const { image, label, width } = header ?? { image: 0, label: 1, width: 2 };
  const read = labelReader(classes);
  const images: LabelledImage[] = [];
  const mistakes: string[] = [];
  for (const { cells, line } of rows) {
    const where = `${shown}:${line}`;
    const name = cells[image] ?? "";
    const found = cells.length !== width ? describeCells(cells, width) : name === "" ? "the path is empty" : read(cells[label] ?? "");
    if (typeof found === "string") mistakes.push(`${where}: ${found}`);
    else images.push({ name, path: resolve(dirname(path), name), where, label: found });
  }
  if (mistakes.length > 0) throw new UserError(listed(mistakes));
  return images;
}

interface Row {
  readonly cells: readonly string[];
  /** Where it ends, from 1. */
  readonly line: number;
}

function parseRows(text: string, shown: string): readonly Row[] {
  try {
    // With `info` each record comes with where it was found, which the declared type leaves out.
    const records = parse(text, { bom: true, info: true, relax_column_count: true, skip_empty_lines: true, trim: true }) as unknown as readonly { readonly info: { readonly lines: number }; readonly record: readonly string[] }[];
    return records.map(({ info, record }) => ({ cells: record, line: info.lines }));
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new UserError(`${shown} is no CSV that can be read: ${cause.message}. A cell with a comma or a quote stands in quotes, in which quotes are doubled`, { cause });
  }
}

/** Where the columns are, if the first row names them. */
function headerOf(cells: readonly string[]): { readonly image: number; readonly label: number; readonly width: number } | undefined {
  const names = cells.map((cell) => cell.toLowerCase());
  const [image, label] = [names.indexOf("path"), names.indexOf("label")];
  return image >= 0 && label >= 0 ? { image, label, width: cells.length } : undefined;
}

function describeCells(cells: readonly string[], width: number): string {
  const other = cells.length === 1 ? [";", "\t"].find((delimiter) => cells[0]?.includes(delimiter)) : undefined;
  if (other !== undefined) return `no comma is in it, and columns are separated by commas, not by ${other === "\t" ? "tabs" : "semicolons"}`;
  const wanted = width === 2 ? "path,label" : `the ${width} cells of the first line`;
  return `it has ${cells.length === 1 ? "1 cell" : `${cells.length} cells`}, and a line is ${wanted}${cells.length > width ? "; a path or label with a comma stands in quotes, and further columns need a first line that names all of them, path and label among them" : ""}`;
}

/** Tells the class that a label means, or what is wrong with it. A name wins over an index: classes may be called by numbers. */
function labelReader({ count, names }: Classes): (text: string) => number | string {
  const byName = new Map<string, number[]>();
  for (const [index, name] of names.entries()) byName.set(name, [...(byName.get(name) ?? []), index]);
  return (text) => {
    const [named, ...others] = byName.get(text) ?? [];
    if (named !== undefined) return others.length === 0 ? named : `label ${show(text)} is the name of classes ${[named, ...others].join(" and ")}: write the index`;
    const index = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
    if (index < count) return index;
    if (text === "") return "the label is empty";
    const near = text.length > longestName ? undefined : nearest(text, names);
    const allowed = `an index from 0 to ${count - 1}${names.length > 0 ? " or a class name" : " (the package has no class names)"}`;
    return `label ${show(text)} is no class of the model: it must be ${allowed}${near === undefined ? "" : `; did you mean ${show(near)}?`}`;
  };
}

/** One folder a class; images lie anywhere in it. In the order of names. */
async function readFolders(root: string, shown: string, classes: Classes, onNotice: (notice: string) => void): Promise<readonly LabelledImage[]> {
  const read = labelReader(classes);
  const entries = (await readdir(root, { withFileTypes: true })).filter(({ name }) => !name.startsWith(".")).sort(byCode);
  const images: LabelledImage[] = [];
  const mistakes: string[] = [];
  const left: string[] = [];
  for (const { name } of entries) {
    const folder = join(root, name);
    // Followed, for folders that are links.
    if ((await stat(folder).catch(() => undefined))?.isDirectory() !== true) {
      left.push(name);
      continue;
    }
    const label = read(name);
    if (typeof label === "string") {
      mistakes.push(`folder ${join(shown, name)}: ${label}`);
      continue;
    }
    const files = (await readdir(folder, { withFileTypes: true, recursive: true })).filter((entry) => !entry.isDirectory() && !entry.name.startsWith("."));
    for (const path of files.map((entry) => join(entry.parentPath, entry.name)).sort()) {
      const inside = relative(root, path);
      if (imageEndings.has(extname(path).toLowerCase())) images.push({ name: inside, path, label });
      else left.push(inside);
    }
  }
  if (mistakes.length > 0) throw new UserError(listed(mistakes));
  if (images.length === 0) throw new UserError(`${shown} holds no images: --data takes a folder with one folder a class, named by the class or its index, or a CSV file`);
  if (left.length > 0) onNotice(`${left.length === 1 ? "1 file" : `${left.length} files`} of ${shown} ${left.length === 1 ? "is" : "are"} no image in a class's folder, and left out: ${some(left)}`);
  return images;
}

const byCode = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : 1);

function listed(mistakes: readonly string[]): string {
  if (mistakes.length === 1) return mistakes[0]!;
  const rest = mistakes.length > listedMistakes ? [`  and ${mistakes.length - listedMistakes} more`] : [];
  return [`${mistakes.length} labels are wrong`, ...mistakes.slice(0, listedMistakes).map((mistake) => `  - ${mistake}`), ...rest].join("\n");
}

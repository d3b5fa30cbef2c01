/** Measured choices of kernels that `vitc tune` left on this machine: one file a plan, by its fingerprint. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { isTable } from "./choose.js";
import type { Tuned } from "./plan.js";

/** Where the tables of a plan lie, in the user's cache folder. Nothing need be there. */
export function tunedFile(fingerprint: string): string {
  return join(userCache(), "vitc", "tuned", `${fingerprint.replace(/[^0-9a-z]/gi, "_")}.json`);
}

/**
 * The tables that were measured for a plan on this machine; none if it was never tuned.
 * @throws Error when there is a file and it cannot be read or holds something else. The plan does without it.
 */
export async function tuned(fingerprint: string): Promise<Tuned[]> {
  const file = tunedFile(fingerprint);
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return undefined;
    throw error;
  });
  if (text === undefined) return [];
  const tables: unknown = parse(text);
  if (!Array.isArray(tables) || !tables.every(isTable)) throw new Error(`${file} holds no measured choices; delete it, or write it again with vitc tune`);
  return tables;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The user's cache folder: $XDG_CACHE_HOME wherever it is set, and else what the system has for caches. */
export function userCache(): string {
  const named = process.env["XDG_CACHE_HOME"];
  if (named !== undefined && isAbsolute(named)) return named;
  switch (process.platform) {
    case "darwin":
      return join(homedir(), "Library", "Caches");
    case "win32":
      return process.env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local");
    default:
      return join(homedir(), ".cache");
  }
}

/** A page that tests load a model of the notes in. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Fixture } from "./fixtures.js";
import { f32, temporaryFolder, writeCompiled } from "./packages.js";

/** A folder to serve: `index.html`, the fixture's model as `package`, and its images as f32 values in `input.bin`. */
export async function writeNotePage(title: string, fixture: Fixture): Promise<string> {
  const root = temporaryFolder(`browser-${title}`);
  await writeCompiled(join(root, "package"), fixture.spec);
  writeFileSync(join(root, "index.html"), `<!doctype html><title>${title}</title>`);
  writeFileSync(join(root, "input.bin"), new Uint8Array(f32(fixture.io.get("input")!.data).buffer));
  return root;
}

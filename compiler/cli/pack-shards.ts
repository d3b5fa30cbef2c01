/** Writing packed weights: a folder of shards and their manifest, whole or not at all. */
import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, open, readFile, rename, rm, rmdir, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { packedFormat, packedVersion, type PackedManifest, type PackedVariant, type Shard } from "../../runtime/packed.js";
import type { Plan } from "../../runtime/plan.js";
import type { Packed } from "../../runtime/recipe.js";

/** The manifest's name in its folder. */
export const manifestName = "weights.json";

/** A folder holds no more: beyond this a loader spends its time on asking for files. */
export const mostShards = 10_000;

/** What is read at once to hash a shard. */
const pieceBytes = 2 ** 20;
const hashDigits = 12;

/** A shard that is being written. */
interface Draft {
  readonly buffer: number;
  readonly offset: number;
  readonly bytes: number;
  readonly temporary: string;
}

/** The parts that weight buffers are cut into, each of at most `shardBytes`, by buffer and offset. */
export function cutBuffers(weightBuffers: readonly number[], shardBytes: number): readonly Pick<Shard, "buffer" | "offset" | "bytes">[] {
  const most = Math.floor(shardBytes / 4) * 4;
  return weightBuffers.flatMap((size, buffer) => Array.from({ length: Math.ceil(size / most) }, (_, i) => ({ buffer, offset: i * most, bytes: Math.min(most, size - i * most) })));
}

/**
 * Shards in the making, under temporary names. Their last names hold a hash of their bytes, so that a folder which is packed again never shows
 * old shards under a new manifest or the other way round; the manifest comes last.
 */
export class ShardFolder {
  private readonly temporary = new Set<string>();
  /** Files of ours that are there now and were not before. */
  private readonly added = new Set<string>();
  private readonly writing: VariantShards[] = [];
  private published = false;

  private constructor(
    private readonly folder: string,
    /** The topmost folder that was made for this, if any was. */
    private readonly made: string | undefined,
  ) {}

  /** @param folder absolute; made if it is not there. */
  static async create(folder: string): Promise<ShardFolder> {
    return new ShardFolder(folder, await mkdir(folder, { recursive: true }));
  }

  /** Room for the weight buffers of a variant. */
  async begin({ weightBuffers, dtype, fingerprint }: Plan, recipe: string, shardBytes: number): Promise<VariantShards> {
    const drafts: Draft[] = [];
    for (const cut of cutBuffers(weightBuffers, shardBytes)) {
      const temporary = this.newTemporary();
      const file = await open(temporary, "wx");
      try {
        // What no tensor covers, the bytes that align the next one, is zero.
        await file.truncate(cut.bytes);
      } finally {
        await file.close();
      }
      drafts.push({ ...cut, temporary });
    }
    const written = new VariantShards(drafts, async (signal) => {
      const digits = String(drafts.length - 1).length;
      const shards: Shard[] = [];
      for (const [i, { temporary, buffer, offset, bytes }] of drafts.entries()) {
        signal.throwIfAborted();
        const sha256 = await hashAndSync(temporary);
        const file = `${dtype}-${String(i).padStart(digits, "0")}-${sha256.slice(0, hashDigits)}.bin`;
        await this.place(temporary, file);
        shards.push({ file, buffer, offset, bytes, sha256 });
      }
      return { dtype, fingerprint, recipe, shards };
    });
    this.writing.push(written);
    return written;
  }

  /**
   * Writes the manifest, and removes the shards that only the manifest before it named.
   * @returns the names of those.
   */
  async publish(content: Pick<PackedManifest, "vitc" | "name" | "variants" | "reference">, signal: AbortSignal): Promise<readonly string[]> {
    const manifest: PackedManifest = { format: packedFormat, version: packedVersion, ...content };
    const before = await shardsNamed(join(this.folder, manifestName));
    const temporary = this.newTemporary();
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(`${JSON.stringify(manifest, null, 1)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    signal.throwIfAborted();
    await rename(temporary, join(this.folder, manifestName));
    this.published = true;
    const now = new Set(content.variants.flatMap(({ shards }) => shards.map((shard) => shard.file)));
    const removed = before.filter((name) => !now.has(name));
    for (const name of removed) await rm(join(this.folder, name), { force: true });
    return removed;
  }

  /** Leaves nothing behind, unless all is published. */
  async discard(): Promise<void> {
    for (const written of this.writing) await written.close();
    for (const file of this.temporary) await rm(file, { force: true });
    if (this.published) return;
    for (const file of this.added) await rm(file, { force: true });
    if (this.made === undefined) return;
    // Somebody may have put something there meanwhile, and then it stays.
    for (let folder = this.folder; folder.length >= this.made.length; folder = dirname(folder)) {
      if (!(await rmdir(folder).then(() => true, () => false))) return;
    }
  }

  private newTemporary(): string {
    const file = join(this.folder, `.${randomBytes(6).toString("hex")}.tmp`);
    this.temporary.add(file);
    return file;
  }

  private async place(temporary: string, name: string): Promise<void> {
    const file = join(this.folder, name);
    const isThere = await access(file).then(() => true, () => false);
    if (!isThere) this.added.add(file);
    await rename(temporary, file);
    this.temporary.delete(temporary);
  }
}

/** A tensor lies in two shards at most. */
const openAtOnce = 4;

/** The shards of one variant. */
export class VariantShards {
  /** Rows of a joined matrix come one by one: files stay open between them. */
  private readonly open = new Map<Draft, FileHandle>();

  constructor(
    private readonly drafts: readonly Draft[],
    private readonly publish: (signal: AbortSignal) => Promise<PackedVariant>,
  ) {}

  /** Hashes the shards and gives them their names. Nothing may be written afterwards. */
  async finish(signal: AbortSignal): Promise<PackedVariant> {
    await this.close();
    return this.publish(signal);
  }

  /** Closes all files but the `most` that were opened last. */
  async close(most = 0): Promise<void> {
    for (const [draft, file] of this.open) {
      if (this.open.size <= most) return;
      this.open.delete(draft);
      await file.close();
    }
  }

  /** Writes a packed tensor at a byte offset of a weight buffer. It may lie in several shards. */
  async write(buffer: number, offset: number, data: Packed): Promise<void> {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (const draft of this.drafts) {
      const [start, end] = [Math.max(offset, draft.offset), Math.min(offset + bytes.length, draft.offset + draft.bytes)];
      if (draft.buffer !== buffer || start >= end) continue;
      const file = this.open.get(draft) ?? (await open(draft.temporary, "r+"));
      this.open.set(draft, file);
      await this.close(openAtOnce);
      for (let at = start; at < end; ) at += (await file.write(bytes, at - offset, end - at, at - draft.offset)).bytesWritten;
    }
  }
}

async function hashAndSync(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(path, "r+");
  try {
    const piece = new Uint8Array(pieceBytes);
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) break;
      hash.update(piece.subarray(0, bytesRead));
      at += bytesRead;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

/** The shards that a manifest names, if it is one of ours; names that are none of a shard of ours are not believed. */
async function shardsNamed(path: string): Promise<readonly string[]> {
  try {
    const manifest = JSON.parse(await readFile(path, "utf8")) as Partial<PackedManifest>;
    if (manifest.format !== packedFormat) return [];
    return (manifest.variants ?? []).flatMap(({ shards }) => shards.map(({ file }) => file)).filter((name) => /^f(16|32)-\d+-[0-9a-f]{12}\.bin$/.test(name));
  } catch {
    return [];
  }
}

/** Batches of images in the parts that a plan's profiles take, and their results put together. */
import { chooseProfiles } from "./choose.js";
import type { Engine } from "./load.js";
import type { Plan } from "./plan.js";
import type { Taken } from "./runner.js";
import type { BufferRange, Session } from "./session.js";
import { elements, withShape, type Batch, type Tensor } from "./tensor.js";

/** Part of a batch, for one profile. */
export interface Chunk {
  /** Batch size of the profile. */
  readonly batch: number;
  /** Images before it, and its own. */
  readonly first: number;
  readonly images: number;
  readonly input: Float32Array | BufferRange;
}

/** A batch in the parts that the profiles take. */
export function chunksOf({ programs, input: { shape } }: Plan, batch: Batch): readonly Chunk[] {
  const size = elements(shape);
  let first = 0;
  return chooseProfiles(programs.infer, batch.count).map((profile) => {
    const images = Math.min(profile.batch, batch.count - first);
    const input = "buffer" in batch ? { buffer: batch.buffer, offset: batch.offset + first * size * 4, bytes: images * size * 4 } : batch.data.subarray(first * size, (first + images) * size);
    const chunk: Chunk = { batch: profile.batch, first, images, input };
    first += images;
    return chunk;
  });
}

/** Results of a batch, which come chunk by chunk. */
export class Results {
  private readonly values: readonly Float32Array<ArrayBuffer>[];

  constructor(private readonly plan: Plan, private readonly count: number) {
    this.values = plan.outputs.map(({ shape }) => new Float32Array(count * elements(shape)));
  }

  /** Takes a chunk's outputs, as a session gives them. */
  collector({ first, images }: Chunk): Parameters<Session["run"]>[2] {
    return (output, values) => {
      const width = elements(this.plan.outputs[output]!.shape);
      this.values[output]!.set(values.subarray(0, images * width), first * width);
    };
  }

  /** All of them, by name. */
  get outputs(): Readonly<Record<string, Tensor>> {
    return Object.fromEntries(this.plan.outputs.map(({ name, shape }, i) => [name, withShape(this.values[i]!, [this.count, ...shape])]));
  }
}

/** A whole run in its turn. */
export async function run(engine: Engine, taken: Taken, signal: AbortSignal | undefined): Promise<Readonly<Record<string, Tensor>>> {
  const { session, variant: { plan } } = engine;
  const batch = await taken.get();
  const results = new Results(plan, batch.count);
  for (const chunk of chunksOf(plan, batch)) {
    signal?.throwIfAborted();
    await session.run(chunk.batch, chunk.input, results.collector(chunk));
  }
  return results.outputs;
}

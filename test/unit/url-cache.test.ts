import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as assert from "uvu/assert";
import { parseIntegrity, verified, verifiedList } from "../../runtime/integrity.js";
import type { Variant } from "../../runtime/definition.js";
import { packedFormat, recipeHash } from "../../runtime/packed.js";
import { fromUrl, type UrlOptions } from "../../runtime/url.js";
import { openVariantWeights } from "../../runtime/variant-weights.js";
import { suite } from "../tools/suite.js";
import { f32, makeFile, refusal } from "./weight-files.js";

const test = suite("url cache");

/** What the Cache API does that is used here, in memory. */
class MemoryCache {
  readonly entries = new Map<string, Response>();
  full = false;
  async match(url: string): Promise<Response | undefined> {
    return this.entries.get(url)?.clone();
  }
  async put(url: string, response: Response): Promise<void> {
    if (this.full) throw new DOMException("Quota exceeded.", "QuotaExceededError");
    this.entries.set(url, response);
  }
  async keys(): Promise<{ url: string }[]> {
    return [...this.entries.keys()].map((url) => ({ url }));
  }
  async delete(url: string): Promise<boolean> {
    return this.entries.delete(url);
  }
}

interface Site {
  readonly url: string;
  readonly cache: MemoryCache;
  readonly names: string[];
  readonly notices: string[];
  /** Method and range of each request since it was last called, and what it said of the HTTP cache. */
  asked(): string[];
  cacheControl: string[];
  /** Tries that break before one succeeds. */
  failures: number;
  content: Uint8Array;
  headers: Record<string, string>;
  headStatus: number;
  down: boolean;
  /** Nothing is refused, and nothing answered. */
  silent: boolean;
  open(options?: UrlOptions): ReturnType<typeof fromUrl>;
}

async function withSite(use: (site: Site) => Promise<void>): Promise<void> {
  let asked: string[] = [];
  const notices: string[] = [];
  const names: string[] = [];
  const cache = new MemoryCache();
  const server = createServer((request, response) => {
    const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    asked.push(`${request.method} ${request.headers.range ?? ""}`.trim());
    site.cacheControl.push(request.headers["cache-control"] ?? "");
    if (site.silent) return;
    if (site.down || (request.method === "GET" && site.failures-- > 0)) return void response.destroy();
    if (request.method === "HEAD") return void response.writeHead(site.headStatus, { "Content-Length": site.content.length, ...site.headers }).end();
    const part = site.content.subarray(Number(begin), Number(end) + 1);
    response.writeHead(206, { "Content-Range": `bytes ${begin}-${Number(begin) + part.length - 1}/${site.content.length}`, "Content-Length": part.length, ...site.headers }).end(part);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const site: Site = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/model?token=secret`,
    cache,
    names,
    notices,
    asked: () => asked.splice(0),
    cacheControl: [],
    failures: 0,
    content: Uint8Array.from({ length: 200_000 }, (_, i) => i * 31 + (i >> 8)),
    headers: { ETag: '"first"' },
    headStatus: 200,
    down: false,
    silent: false,
    open: (options) => fromUrl(site.url, { cache: true, pauses: [], onNotice: (text) => notices.push(text), ...options }),
  };
  Object.defineProperty(globalThis, "caches", { configurable: true, value: { open: async (name: string) => (names.push(name), cache) } });
  try {
    await use(site);
  } finally {
    asked = [];
    Reflect.deleteProperty(globalThis, "caches");
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

test("the second time nothing is downloaded, and no entry tells the address", async () => {
  await withSite(async (site) => {
    const first = await site.open();
    await first.read(0, 8);
    assert.equal(await first.read(100_000, 50_000), site.content.slice(100_000, 150_000));
    assert.equal(site.asked(), ["GET bytes=0-65535", "GET bytes=100000-149999"]);
    const second = await site.open({ cache: { name: "mine" } });
    assert.is(second.size, 200_000);
    assert.equal(await second.read(0, 8), site.content.slice(0, 8));
    assert.equal(await second.read(100_000, 50_000), site.content.slice(100_000, 150_000));
    assert.equal(site.asked(), ["HEAD"]);
    assert.equal(await second.read(70_000, 10), site.content.slice(70_000, 70_010), "what was not kept is asked for");
    assert.equal(site.asked(), ["GET bytes=0-65535", "GET bytes=70000-70009"]);
    assert.equal([site.names, site.notices], [["vitc-weights", "mine"], []]);
    assert.not.match([...site.cache.entries.keys()].join(), /secret|127/);
  });
});

test("a changed file is downloaded again, and what was kept of the old one is deleted", async () => {
  for (const headStatus of [200, 405]) {
    await withSite(async (site) => {
      site.headStatus = headStatus;
      await (await site.open()).read(100_000, 10);
      site.asked();
      await (await site.open()).read(100_000, 10);
      assert.equal(site.asked(), headStatus === 200 ? ["HEAD"] : ["HEAD", "GET bytes=0-65535"], "a refused HEAD costs the first bytes");
      const old = [...site.cache.entries.keys()].filter((key) => !key.endsWith("version"));
      site.content = site.content.map((byte) => byte + 1);
      site.headers = { ETag: '"second"' };
      assert.equal(await (await site.open()).read(100_000, 10), site.content.slice(100_000, 100_010));
      assert.ok(old.length === 1 && !old.some((key) => site.cache.entries.has(key)));
      assert.is(site.cache.entries.size, 2);
    });
  }
});

test("a damaged or cut entry is not used", async () => {
  const wrong: ((entry: Response) => Response | Promise<Response>)[] = [
    ({ headers }) => new Response(new Uint8Array(10), { headers }),
    async (entry) => new Response((await entry.arrayBuffer()).slice(1), { headers: entry.headers }),
    async (entry) => new Response(await entry.arrayBuffer()),
  ];
  for (const damage of wrong) {
    await withSite(async (site) => {
      await (await site.open()).read(100_000, 10);
      const key = [...site.cache.entries.keys()].find((url) => url.endsWith("/100000-10"))!;
      site.cache.entries.set(key, await damage(site.cache.entries.get(key)!));
      site.asked();
      assert.equal(await (await site.open()).read(100_000, 10), site.content.slice(100_000, 100_010));
      assert.equal(site.asked().at(-1), "GET bytes=100000-100009");
    });
  }
});

test("what cannot be kept is said once, and read from the server", async () => {
  await withSite(async (site) => {
    site.cache.full = true;
    const source = await site.open();
    assert.equal(await source.read(0, 10), site.content.slice(0, 10));
    assert.equal(await source.read(100_000, 10), site.content.slice(100_000, 100_010));
    assert.is(site.notices.length, 1);
    assert.match(site.notices[0]!, /cannot be written \(Quota exceeded/);
  });
  await withSite(async (site) => {
    site.headers = { ETag: 'W/"weak"' };
    await (await site.open()).read(0, 10);
    assert.match(site.notices[0]!, /neither a strong ETag nor Last-Modified/);
    assert.is(site.cache.entries.size, 0);
    Reflect.deleteProperty(globalThis, "caches");
    assert.equal(await (await site.open()).read(0, 10), site.content.slice(0, 10));
    assert.match(site.notices[1]!, /no Cache API/);
    assert.match((await refusal(site.open({ cache: "mine" as never }))).message, /cache is mine; it is true, false or \{ name \}/);
  });
});

test("without a connection the kept copy is used, and that is said; what it lacks is an error", async () => {
  await withSite(async (site) => {
    await (await site.open()).read(100_000, 10);
    site.down = true;
    const source = await site.open();
    assert.equal(await source.read(100_000, 10), site.content.slice(100_000, 100_010));
    assert.match(site.notices[0]!, /could not be fetched.*earlier visit kept is used, unchecked/);
    assert.match((await refusal(source.read(0, 10))).message, /could not be fetched/);
  });
});

test("over a network that hangs the kept copy is used after one silence", async () => {
  await withSite(async (site) => {
    await (await site.open()).read(100_000, 10);
    site.silent = true;
    site.asked();
    assert.equal(await (await site.open({ stall: 100 })).read(100_000, 10), site.content.slice(100_000, 100_010));
    assert.equal(site.asked(), ["HEAD"]);
    assert.match(site.notices.join(), /model: the server sent nothing for 0\.1 seconds; what an earlier visit kept is used, unchecked/);
    assert.not.match(site.notices.join(), /secret/);
  });
});

test("of a server that tells no version any more nothing stays behind", async () => {
  await withSite(async (site) => {
    await (await site.open()).read(100_000, 10);
    site.headers = {};
    assert.equal(await (await site.open()).read(100_000, 10), site.content.slice(100_000, 100_010));
    assert.is(site.cache.entries.size, 0);
  });
});

test("what breaks when the file is opened again is tried again, by itself and by the next read; offline nothing is waited for", async () => {
  await withSite(async (site) => {
    const pauses = [1, 600_000];
    await (await site.open()).read(100_000, 10);
    const source = await site.open({ pauses });
    site.failures = 1;
    assert.equal(await source.read(0, 10), site.content.slice(0, 10));
    const other = await site.open();
    site.failures = 1;
    assert.match((await refusal(other.read(50_000, 10))).message, /could not be fetched/);
    assert.equal(await other.read(50_000, 10), site.content.slice(50_000, 50_010));
    site.down = true;
    assert.equal(await (await site.open({ pauses })).read(100_000, 10), site.content.slice(100_000, 100_010));
    assert.equal(site.notices.length, 1);
  });
});

test("of a file that changed the browser's HTTP cache is not asked, and what an earlier visit kept is used when it cannot be had", async () => {
  await withSite(async (site) => {
    await (await site.open()).read(100_000, 10);
    assert.ok(site.cacheControl.every((said) => !said.includes("max-age")), site.cacheControl.join());
    site.headers = { ETag: '"second"' };
    site.failures = 1;
    const old = await site.open();
    assert.equal(await old.read(100_000, 10), site.content.slice(100_000, 100_010));
    assert.match(site.notices[0]!, /kept is used, though the file changed since/);
    site.cacheControl.length = 0;
    await (await site.open()).read(100_000, 10);
    assert.equal(site.cacheControl, ["max-age=0", "max-age=0", "max-age=0"], "HEAD, the first bytes, and a range of the rest");
  });
});

test("bytes that do not fit their hash are not kept, and are asked of the server again", async () => {
  await withSite(async (site) => {
    const right = site.content;
    const expected = parseIntegrity(createHash("sha256").update(right).digest("hex"));
    const signal = new AbortController().signal;
    const load = async (): Promise<void> => {
      const { source, finish } = verified(await site.open(), expected);
      assert.is((await source.read(100_000, 10)).length, 10);
      await finish(signal);
    };
    // Wrong on its way: the server says that it is the same file.
    site.content = right.with(150_000, right[150_000]! ^ 1);
    assert.match((await refusal(load())).message, /its SHA-256 is/);
    assert.equal([...site.cache.entries.keys()].map((key) => key.split("/").at(-1)), ["version"]);
    site.content = right;
    await load();
    site.asked();
    await load();
    assert.equal(site.asked(), ["HEAD"], "what fits is kept");

    // A list likewise; who was given the source reads it anew, past the HTTP cache.
    site.content = right.slice(0, 1000);
    const list = parseIntegrity(createHash("sha256").update(right.subarray(0, 1000)).digest("hex"));
    site.headers = { ETag: '"list"' };
    site.content = site.content.with(3, 0);
    site.cache.full = true;
    const source = await site.open();
    site.cache.full = false;
    assert.match((await refusal(verifiedList(source, list, signal))).message, /its SHA-256 is/);
    site.content = right.slice(0, 1000);
    site.cacheControl.length = 0;
    assert.equal(await (await verifiedList(source, list, signal)).read(0, 1000), site.content);
    assert.equal(site.cacheControl, ["no-cache"]);
  });
});

test("a header or a list that came damaged is not kept, and a connection that breaks loses nothing that is", async () => {
  const variant = { plan: { name: "tiny", dtype: "f32", weightBuffers: [8] }, kernels: {}, recipe: { tensors: [{ name: "a", buffer: 0, offset: 0, dtype: "f32", shape: [2], sources: [{ names: ["a"], shape: [2] }], steps: [] }] } } as unknown as Variant;
  const file = makeFile({ a: f32([2], [1, 2]) });
  const manifest = new TextEncoder().encode(JSON.stringify({ format: packedFormat, version: 1, vitc: "1", name: "tiny", variants: [{ dtype: "f32", fingerprint: "f", recipe: await recipeHash(variant.recipe), shards: [] }] }));
  for (const [content, at, message] of [[file, 9, /the header is not valid JSON/], [manifest, manifest.length - 1, /list of packed weights is damaged/], [manifest, manifest.indexOf(0x5d), /is damaged/]] as const) {
    for (const hash of content === file ? [undefined, createHash("sha256").update(file).digest("hex")] : [undefined]) {
      await withSite(async (site) => {
        const load = async (): Promise<void> => {
          const weights = await openVariantWeights([variant], await site.open(), { integrity: hash });
          await (await weights.open(variant))({ upload: () => {} });
        };
        site.content = content.with(at, 0);
        assert.match((await refusal(load())).message, message);
        assert.equal([...site.cache.entries.keys()].map((key) => key.split("/").at(-1)), ["version"]);
        site.content = content;
        if (content === file) await load();
      });
    }
  }
  await withSite(async (site) => {
    site.content = file;
    await (await site.open()).read(0, 8);
    site.down = true;
    const kept = site.cache.entries.size;
    const weights = await openVariantWeights([variant], await site.open(), {});
    assert.match((await refusal(weights.open(variant))).message, /could not be fetched/);
    assert.is(site.cache.entries.size, kept);
  });
});

test.run();

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { fromUrl } from "../../runtime/url.js";
import { refusal, rejection } from "./weight-files.js";

const test = suite("url");

const file = Uint8Array.from({ length: 200_000 }, (_, i) => i * 31 + (i >> 8));

interface Site {
  readonly url: string;
  /** The Range header of each request, or "". */
  readonly ranges: string[];
}

type Handler = (request: IncomingMessage, response: ServerResponse, range: readonly [number, number] | undefined) => void;

/** A server for the length of a test. */
async function withServer(handler: Handler, use: (site: Site) => Promise<void>): Promise<void> {
  const ranges: string[] = [];
  const server = createServer((request, response) => {
    const header = request.headers.range ?? "";
    ranges.push(header);
    const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(header) ?? [];
    handler(request, response, begin === undefined ? undefined : [Number(begin), Math.min(Number(end) + 1, file.length)]);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    await use({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`, ranges });
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

const partial = (response: ServerResponse, [begin, end]: readonly [number, number], headers: Record<string, string> = {}): ServerResponse =>
  response.writeHead(206, { "Content-Range": `bytes ${begin}-${end - 1}/${file.length}`, "Content-Length": end - begin, ...headers });

const ranged: Handler = (_, response, range) => {
  if (range === undefined) response.writeHead(200, { "Content-Length": file.length }).end(file);
  else partial(response, range).end(file.subarray(...range));
};

const whole: Handler = (_, response) => response.writeHead(200, { "Content-Length": file.length }).end(file);

test("reads ranges, and the start only once", async () => {
  await withServer(ranged, async ({ url, ranges }) => {
    const source = await fromUrl(`${url}?token=secret`);
    assert.is(source.size, file.length);
    assert.is(source.name, url, "the query may hold a secret");
    assert.equal(await source.read(0, 8), file.slice(0, 8));
    assert.equal(await source.read(1000, 64_000), file.slice(1000, 65_000));
    assert.equal(await source.read(65_000, 2000), file.slice(65_000, 67_000));
    assert.equal(await source.read(199_999, 1), file.slice(199_999));
    assert.is((await source.read(200_000, 0)).length, 0);
    assert.equal(ranges, ["bytes=0-65535", "bytes=65000-66999", "bytes=199999-199999"]);
    assert.match((await refusal(source.read(199_999, 2))).message, /bytes 199999 to 200001 were asked for, the file has 200000/);
    assert.match((await refusal(source.read(-1, 2))).message, /bytes -1/);
  });
});

test("downloads once when the server ignores Range", async () => {
  await withServer(whole, async ({ url, ranges }) => {
    const source = await fromUrl(url);
    assert.is(source.size, file.length);
    assert.equal(await source.read(150_000, 50_000), file.slice(150_000));
    assert.equal(await source.read(0, 8), file.slice(0, 8));
    assert.is(ranges.length, 1);
  });
});

test("downloads once when the server gives ranges and hides the size", async () => {
  const hiding: Handler = (_, response, range) => {
    if (range === undefined) response.end(file);
    else response.writeHead(206).end(file.subarray(...range));
  };
  await withServer(hiding, async ({ url, ranges }) => {
    const source = await fromUrl(url);
    assert.is(source.size, file.length);
    assert.equal(await source.read(100, 199_900), file.slice(100));
    assert.equal(ranges, ["bytes=0-65535", ""]);
  });
});

test("gives the first bytes of a download before the last have arrived", async () => {
  let finish = (): void => undefined;
  const slow: Handler = (_, response) => {
    response.writeHead(200, { "Content-Length": file.length }).write(file.subarray(0, 1000));
    finish = () => void response.end(file.subarray(1000));
  };
  await withServer(slow, async ({ url }) => {
    const source = await fromUrl(url);
    assert.equal(await source.read(0, 1000), file.slice(0, 1000));
    const rest = source.read(900, 1100);
    finish();
    assert.equal(await rest, file.slice(900, 2000));
  });
});

test("a connection that breaks is a typed error, with ranges and without", async () => {
  const cutRange: Handler = (request, response, range) => {
    if (range === undefined || range[0] === 0) return ranged(request, response, range);
    partial(response, range).write(file.subarray(range[0], range[0] + 100), () => response.destroy());
  };
  await withServer(cutRange, async ({ url }) => {
    const source = await fromUrl(url, { pauses: [] });
    assert.match((await refusal(source.read(70_000, 10_000))).message, /the connection broke after \d+ of 10000 bytes from byte 70000/);
  });
  const cutWhole: Handler = (_, response) => {
    response.writeHead(200, { "Content-Length": file.length }).write(file.subarray(0, 5000), () => setTimeout(() => response.destroy(), 20));
  };
  await withServer(cutWhole, async ({ url }) => {
    const source = await fromUrl(url, { pauses: [1, 1] });
    assert.equal(await source.read(0, 5000), file.slice(0, 5000));
    assert.match((await refusal(source.read(0, 5001))).message, /the connection broke after 5000 of 200000 bytes.*tried again 2 times and came no further/);
  });
  const cutAtOnce: Handler = (_, response) => response.destroy();
  await withServer(cutAtOnce, async ({ url }) => assert.match((await refusal(fromUrl(url, { pauses: [] }))).message, /could not be fetched/));
});

/** Sends a body up to a byte of it, and then breaks the connection. */
const cutAfter = (response: ServerResponse, body: Uint8Array): void => void response.write(body, () => setTimeout(() => response.destroy(), 5));

test("a connection that breaks goes on where it stopped, at the first bytes, in the middle and at an answer that is late", async () => {
  let answers = 0;
  const cutting: Handler = (_, response, range) => {
    const [begin, end] = range!;
    answers++;
    if (answers === 4) return void response.destroy();
    if (answers === 5) return void response.writeHead(503).end();
    cutAfter(partial(response, [begin, end]), file.subarray(begin, Math.min(end, begin + 40_000)));
  };
  await withServer(cutting, async ({ url, ranges }) => {
    const source = await fromUrl(url, { pauses: [1, 1, 1] });
    assert.equal(await source.read(80_000, 100_000), file.slice(80_000, 180_000));
    assert.equal(ranges, ["bytes=0-65535", "bytes=40000-65535", "bytes=80000-179999", "bytes=120000-179999", "bytes=120000-179999", "bytes=120000-179999", "bytes=160000-179999"]);
  });
});

test("the first request of a file is made again too: of one that was named a few times, since the address may be wrong, of those beside it as often as any", async () => {
  let failures = 0;
  const failing: Handler = (request, response, range) => {
    failures--;
    if (failures === 2) return void response.writeHead(503).end();
    // Silence.
    if (failures === 1) return;
    if (failures >= 0) return void response.destroy();
    ranged(request, response, range);
  };
  const pauses = [1, 1, 1, 1, 1, 1];
  await withServer(failing, async ({ url, ranges }) => {
    failures = 3;
    const source = await fromUrl(url, { pauses, stall: 100 });
    assert.equal(await source.read(0, 100), file.slice(0, 100));
    assert.is(ranges.length, 4);
    failures = 6;
    const other = await source.beside!("other.bin", 1000);
    assert.equal(await other.read(0, 1000), file.slice(0, 1000));
    assert.is(ranges.length, 4 + 7);
    failures = 100;
    assert.match((await refusal(fromUrl(url, { pauses }))).message, /could not be fetched.*tried again 3 times/);
    assert.match((await refusal(source.beside!("other.bin", 1000))).message, /could not be fetched.*tried again 6 times/);
  });
  // The second request, for the whole of a file whose size is hidden, likewise.
  let answers = 0;
  const hiding: Handler = (_, response, range) => {
    if (++answers === 2) return void response.destroy();
    if (range === undefined) response.end(file);
    else response.writeHead(206).end(file.subarray(...range));
  };
  await withServer(hiding, async ({ url }) => assert.equal(await (await fromUrl(url, { pauses })).read(0, 200_000), file));
});

test("a download without ranges starts again and passes over what is there", async () => {
  let length = 30_000;
  const cutting: Handler = (_, response) => {
    cutAfter(response.writeHead(200, { "Content-Length": file.length, "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT" }), file.subarray(0, length));
    length += 60_000;
  };
  await withServer(cutting, async ({ url, ranges }) => {
    const source = await fromUrl(url, { pauses: [1] });
    assert.equal(await source.read(0, 200_000), file);
    assert.is(ranges.length, 4);
  });
});

test("a server that falls silent is asked again: before it answers, in the middle of a range, and of a download with and without a length", async () => {
  for (const kind of ["answer", "range", "whole", "unknown length"] as const) {
    let answers = 0;
    const dropped: Promise<unknown>[] = [];
    const silent: Handler = (request, response, range) => {
      // The second answer stands still, and whatever was waiting for it lets go.
      const still = ++answers === (kind === "whole" || kind === "unknown length" ? 1 : 2);
      if (still) dropped.push(new Promise((closed) => response.once("close", closed)));
      if (still && kind === "answer") return;
      const end = still ? 1000 : file.length;
      if (kind === "whole") return void response.writeHead(200, { "Content-Length": file.length })[still ? "write" : "end"](file.subarray(0, end));
      if (kind === "unknown length") return void response.writeHead(200)[still ? "write" : "end"](file.subarray(0, end));
      if (still && kind === "range") return void partial(response, range!).write(file.subarray(range![0], range![0] + 1000));
      ranged(request, response, range);
    };
    await withServer(silent, async ({ url, ranges }) => {
      const source = await fromUrl(url, { pauses: [1], stall: 150 });
      assert.equal(await source.read(70_000, 10_000), file.slice(70_000, 80_000), kind);
      assert.is(ranges.length, kind === "whole" || kind === "unknown length" ? 2 : 3);
      if (kind === "range") assert.is(ranges[2], "bytes=71000-79999");
      await Promise.all(dropped);
    });
  }
});

test("a server that stays silent is a typed error, and one that is slow is none", async () => {
  await withServer(() => undefined, async ({ url }) => {
    assert.match((await refusal(fromUrl(url, { pauses: [], stall: 50 }))).message, /the server sent nothing for 0.05 seconds/);
  });
  const slow: Handler = (request, response, range) => {
    if (range?.[0] === 0) return ranged(request, response, range);
    partial(response, range!);
    let at = range![0];
    const timer = setInterval(() => {
      response.write(file.subarray(at, (at += 100)));
      if (at < range![1]) return;
      clearInterval(timer);
      response.end();
    }, 20);
    response.on("close", () => clearInterval(timer));
  };
  await withServer(slow, async ({ url }) => {
    const source = await fromUrl(url, { pauses: [], stall: 300 });
    const began = performance.now();
    assert.equal(await source.read(70_000, 3000), file.slice(70_000, 73_000));
    assert.ok(performance.now() - began > 400, "it takes longer than a server may be silent");
    const [abort, reason] = [new AbortController(), new Error("the user left")];
    const read = rejection(source.read(80_000, 100_000, abort.signal));
    setTimeout(() => abort.abort(reason), 50);
    assert.is(await read, reason);
  });
});

test("a file that changes between two tries is a typed error, with ranges and without", async () => {
  for (const [before, after] of [[{ ETag: '"a"' }, { ETag: '"b"' }], [{ "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT" }, { "Last-Modified": "Sun, 02 Nov 2025 00:00:00 GMT" }]] as const) {
    for (const withRanges of [true, false]) {
      let answers = 0;
      const changing: Handler = (_, response, range) => {
        const headers = answers++ < (withRanges ? 2 : 1) ? before : after;
        const [begin, end] = withRanges ? range! : [0, file.length];
        if (withRanges) partial(response, [begin, end], headers);
        else response.writeHead(200, { "Content-Length": file.length, ...headers });
        if (begin === 0 && withRanges) response.end(file.subarray(begin, end));
        else cutAfter(response, file.subarray(begin, begin + 1000));
      };
      await withServer(changing, async ({ url }) => {
        const error = await refusal((await fromUrl(url, { pauses: [1] })).read(70_000, 10_000));
        assert.match(error.message, /the file changed while it was read .*load it again/);
        assert.is(error.problems[0]?.kind, "changed");
      });
    }
  }
});

test("an abort ends the pause before the next try", async () => {
  const cutting: Handler = (request, response, range) => {
    if (range?.[0] === 0) ranged(request, response, range);
    else response.destroy();
  };
  await withServer(cutting, async ({ url }) => {
    const [abort, reason] = [new AbortController(), new Error("the user left")];
    const source = await fromUrl(url, { pauses: [600_000] });
    const read = rejection(source.read(70_000, 10, abort.signal));
    setTimeout(() => abort.abort(reason), 50);
    assert.is(await read, reason);
  });
});

test("a server that sends the wrong bytes is caught", async () => {
  const answers: readonly [RegExp, Handler][] = [
    [/sent 99 of 100 bytes/, (_, response, range) => partial(response, range!, { "Content-Length": "99" }).end(file.subarray(0, 99))],
    [/sent more than it was asked for/, (_, response, range) => partial(response, range!, { "Content-Length": "150" }).end(file.subarray(0, 150))],
    [/asked for bytes from 70000, the server sent "bytes 5-/, (_, response) => partial(response, [5, 105]).end(file.subarray(5, 105))],
    [/the file changed while it was read \(status 206, 7 bytes/, (_, response, range) => partial(response, range!, { "Content-Range": "bytes 70000-70099/7" }).end(file.subarray(...range!))],
    [/the file changed while it was read/, (_, response, range) => partial(response, range!, { ETag: '"second"' }).end(file.subarray(...range!))],
    [/the file changed while it was read \(status 200/, (_, response) => response.end(file)],
    [/answered 503.*try again later/, (_, response) => response.writeHead(503).end()],
  ];
  for (const [message, answer] of answers) {
    const first: Handler = (request, response, range) => {
      if (range?.[0] !== 0) return answer(request, response, range);
      partial(response, range, { ETag: '"first"' }).end(file.subarray(...range));
    };
    await withServer(first, async ({ url }) => {
      const source = await fromUrl(url, { pauses: [] });
      assert.match((await refusal(source.read(70_000, 100))).message, message);
    });
  }
});

test("an address that brings no file says why", async () => {
  for (const [status, advice] of [[404, /404 Not Found: no file is there/], [403, /403 Forbidden: it wants credentials/], [500, /500.*try again later/]] as const) {
    await withServer((_, response) => response.writeHead(status).end("<html>"), async ({ url }) => assert.match((await refusal(fromUrl(url))).message, advice));
  }
  await withServer((_, response) => response.writeHead(416, { "Content-Range": "bytes */0" }).end(), async ({ url }) => assert.is((await fromUrl(url)).size, 0));
  assert.match((await refusal(fromUrl("model.safetensors"))).message, /is not a complete URL/);
  assert.match((await refusal(fromUrl("file:///model.safetensors"))).message, /file URLs work in Node/);
  assert.match((await refusal(fromUrl("ftp://host/model"))).message, /expected an http/);
  const secret = (await refusal(fromUrl("http://user:hunter2@localhost/model"))).message;
  assert.match(secret, /user name or password/);
  assert.not.match(secret, /hunter2/);
});

test("reads data and blob URLs", async () => {
  const data = await fromUrl("data:application/octet-stream;base64,AQIDBA==");
  assert.equal([data.size, [...(await data.read(1, 2))]], [4, [2, 3]]);
  const address = URL.createObjectURL(new Blob([file]));
  const blob = await fromUrl(address);
  assert.equal(await blob.read(10, 20), file.slice(10, 30));
  URL.revokeObjectURL(address);
  assert.match((await refusal(fromUrl(address))).message, /could not be fetched/);
});

test("an abort rejects with its reason, at every stage", async () => {
  const reason = new Error("the user left");
  assert.is(await rejection(fromUrl("http://127.0.0.1:9/", { signal: AbortSignal.abort(reason) })), reason);
  const hanging: Handler = (request, response, range) => {
    if (range?.[0] === 0) ranged(request, response, range);
  };
  await withServer(hanging, async ({ url }) => {
    const abort = new AbortController();
    const source = await fromUrl(url);
    const read = rejection(source.read(70_000, 10, abort.signal));
    setTimeout(() => abort.abort(reason), 20);
    assert.is(await read, reason);
  });
  const stalled: Handler = (_, response) => void response.writeHead(200, { "Content-Length": file.length }).write(file.subarray(0, 10));
  await withServer(stalled, async ({ url }) => {
    const abort = new AbortController();
    const source = await fromUrl(url, { signal: abort.signal });
    const read = rejection(source.read(0, 11));
    abort.abort(reason);
    assert.is(await read, reason);
  });
});

test.run();

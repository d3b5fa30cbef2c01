/**
 * A small static file server for pages under test and examples. It listens on the loopback interface only, which browsers count as a secure
 * context, as WebGPU wants.
 */
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";

export interface Server extends AsyncDisposable {
  /** `http://localhost:PORT`, without a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".jpeg": "image/jpeg",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".webp": "image/webp",
  ".wgsl": "text/plain; charset=utf-8",
};

/**
 * Serves folders under path prefixes: `{ "/": "examples", "/generated/": "generated" }`; the longest prefix that fits wins. Answers GET and
 * HEAD, with single byte ranges. `headers` go with each file. A folder's `index.html` stands for it. Nothing outside the folders is served, through `..` or through a link.
 * @throws Error when a prefix does not begin and end with a slash, or a folder does not exist.
 */
export async function serve(folders: Readonly<Record<string, string>>, port = 0, headers: Readonly<Record<string, string>> = {}): Promise<Server> {
  const mounts: [prefix: string, folder: string][] = [];
  for (const [prefix, folder] of Object.entries(folders)) {
    if (!prefix.startsWith("/") || !prefix.endsWith("/")) throw new Error(`the prefix "${prefix}" must begin and end with a slash`);
    mounts.push([prefix, await realpath(folder)]);
  }
  mounts.sort(([a], [b]) => b.length - a.length);
  const server = createServer((request, response) => {
    // A client that goes away in the middle of a file is no concern of the server's.
    answer(mounts, request, response, headers).catch(() => response.destroy());
  });
  await new Promise<void>((done, fail) => server.once("error", fail).listen(port, "127.0.0.1", done));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const close = (): Promise<void> =>
    new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return { url: `http://localhost:${address.port}`, close, [Symbol.asyncDispose]: close };
}

async function answer(mounts: readonly [string, string][], request: IncomingMessage, response: ServerResponse, extra: Readonly<Record<string, string>>): Promise<void> {
  const refuse = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): void => {
    response.writeHead(status, { "content-type": "text/plain; charset=utf-8", ...headers }).end(`${text}\n`);
  };
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(405, "only GET and HEAD", { allow: "GET, HEAD" });
  const path = decodePath(request.url ?? "/");
  if (path === undefined) return refuse(400, "a path may not hold .., a backslash or a broken escape");
  const file = await fileAt(mounts, path);
  if (file === undefined) return refuse(404, `there is no ${path}`);

  const range = rangeOf(request.headers.range, file.size);
  if (range === "unsatisfiable") return refuse(416, "the range is outside the file", { "content-range": `bytes */${file.size}` });
  const { start, end } = range ?? { start: 0, end: file.size };
  response.writeHead(range === undefined ? 200 : 206, {
    "content-type": types[extname(file.path).toLowerCase()] ?? "application/octet-stream",
    "content-length": end - start,
    "accept-ranges": "bytes",
    // A page under test must never see yesterday's build.
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...extra,
    ...(range === undefined ? {} : { "content-range": `bytes ${start}-${end - 1}/${file.size}` }),
  });
  if (request.method === "HEAD" || start === end) return void response.end();
  await pipeline(createReadStream(file.path, { start, end: end - 1 }), response);
}

/** The path of a request target, or undefined when it is not one that names a file plainly. */
function decodePath(target: string): string | undefined {
  try {
    const path = decodeURIComponent(target.split(/[?#]/)[0] ?? "");
    const plain = path.startsWith("/") && !/[\\\0]/.test(path) && !path.split("/").some((part) => part === ".." || part === ".");
    return plain ? path : undefined;
  } catch {
    return undefined;
  }
}

async function fileAt(mounts: readonly [string, string][], path: string): Promise<{ path: string; size: number } | undefined> {
  const mount = mounts.find(([prefix]) => path.startsWith(prefix));
  if (mount === undefined) return undefined;
  const [prefix, folder] = mount;
  try {
    const named = join(folder, path.slice(prefix.length), path.endsWith("/") ? "index.html" : "");
    const real = await realpath(named);
    if (!real.startsWith(folder.endsWith(sep) ? folder : folder + sep)) return undefined;
    const info = await stat(real);
    return info.isFile() ? { path: real, size: info.size } : undefined;
  } catch {
    return undefined;
  }
}

/** A single range as [start, end), undefined for the whole file (as for forms that are not supported, which HTTP allows to ignore). */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  const [, first = "", last = ""] = match ?? [];
  if (first === "" && last === "") return undefined;
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  return start < end ? { start, end } : "unsatisfiable";
}

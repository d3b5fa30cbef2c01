/**
 * Serves the modules of packages that the user chose from a folder. The page puts them into caches, under addresses in `chosen/`, so that they
 * are imported as any module of this site: without blob: URLs, which a policy of `default-src 'self'` forbids. Everything else goes to the network.
 */
const chosen = new URL("chosen/", globalThis.location.href).pathname;

globalThis.addEventListener("install", () => globalThis.skipWaiting());
globalThis.addEventListener("activate", (event) => event.waitUntil(globalThis.clients.claim()));
globalThis.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (origin === globalThis.location.origin && pathname.startsWith(chosen)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const kept = await globalThis.caches.match(request.url);
  return kept ?? new globalThis.Response("this package is not open any more: choose its folder again\n", { status: 404 });
}

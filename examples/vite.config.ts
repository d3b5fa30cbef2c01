import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  // A built page can lie in any folder of a site.
  base: "./",
  // Packages, photographs and weights of this repository lie outside of the examples' own folders.
  server: { fs: { allow: [fileURLToPath(new URL("..", import.meta.url))] } },
  worker: { format: "es", rolldownOptions: { checks: { ineffectiveDynamicImport: false } } },
  build: {
    target: "es2022",
    // A policy of default-src 'self' refuses what is written into the page as data: URLs.
    assetsInlineLimit: 0,
    // What a package imports when it is needed, a page that draws results may need at once.
    rolldownOptions: { checks: { ineffectiveDynamicImport: false } },
  },
});

import { defineConfig } from "vite";

export default defineConfig({
  // The built page can lie in any folder of a site.
  base: "./",
  worker: { format: "es" },
  build: {
    target: "es2022",
    // A policy of default-src 'self' refuses what is written into the page as data: URLs.
    assetsInlineLimit: 0,
  },
});

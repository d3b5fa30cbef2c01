/** Builds FOLDER/app.js for browsers as a user of BUNDLER does, into OUT: node build.mjs BUNDLER FOLDER OUT. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";

const [, , bundler, folder, out] = process.argv;
const entry = join(folder, "app.js");

switch (bundler) {
  case "esbuild": {
    const { build } = await import("esbuild");
    await build({ entryPoints: [entry], bundle: true, minify: true, splitting: true, format: "esm", outdir: out, logLevel: "warning" });
    copyFileSync(join(folder, "index.html"), join(out, "index.html"));
    break;
  }
  case "rollup": {
    const { rollup } = await import("rollup");
    const { default: resolve } = await import("@rollup/plugin-node-resolve");
    const bundle = await rollup({ input: entry, plugins: [resolve({ browser: true })], onwarn: ({ message }) => console.error(message) });
    await bundle.write({ dir: out, format: "es" });
    await bundle.close();
    copyFileSync(join(folder, "index.html"), join(out, "index.html"));
    break;
  }
  case "webpack": {
    const { default: webpack } = await import("webpack");
    const compiler = webpack({ mode: "production", entry, output: { path: out, filename: "app.js", module: true, publicPath: "/" }, experiments: { outputModule: true }, performance: { hints: false } });
    const stats = await new Promise((done, fail) => compiler.run((error, result) => (error ? fail(error) : compiler.close(() => done(result)))));
    if (stats.hasErrors() || stats.hasWarnings()) console.error(stats.toString("errors-warnings"));
    copyFileSync(join(folder, "index.html"), join(out, "index.html"));
    break;
  }
  case "vite": {
    const { build } = await import("vite");
    await build({ root: folder, configFile: false, logLevel: "warn", build: { outDir: out, emptyOutDir: true } });
    break;
  }
  default:
    throw new Error(`no bundler is called ${bundler}`);
}

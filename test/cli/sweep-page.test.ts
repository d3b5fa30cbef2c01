import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import * as assert from "uvu/assert";
import { suite } from "../tools/suite.js";
import { folderWith, vitc } from "./vitc.js";

const test = suite("vitc sweep, as a page and a picture");

const source = `import { defineSweep } from "vitc";
export default defineSweep({ base: { name: "small", image: 32, patch: 8, dim: 32, depth: 2, heads: 2, classes: 10 }, axes: { depth: [2, 4], patch: [8, 16, 5] } });
`;

test("writes a page of all rows, with those that failed and why", async () => {
  const cwd = folderWith({ "two.ts": source });
  const { code, stdout, stderr } = await vitc(["sweep", "two.ts", "--format", "html", "--out", "two.html", "--pareto", "params_m,gmacs"], { cwd });
  assert.equal([code, stdout], [0, ""], stderr);
  assert.match(stderr, /6 variants, 2 failed .*; written to two\.html\n$/);
  const html = readFileSync(join(cwd, "two.html"), "utf8");
  assert.match(html, /<title>two, a sweep<\/title>/);
  assert.ok(html.includes("6 Vision Transformers, none run") && html.includes("32 of the image is not a multiple of patch 5"));
  assert.match(html, /<select id="y">.*<option value="gmacs" selected>/);
});

test("writes the plot as SVG and as PNG, the same each time", async () => {
  const cwd = folderWith({ "two.ts": source });
  const draw = (...rest: string[]): ReturnType<typeof vitc> => vitc(["sweep", "two.ts", "--plot", "params_m,gmacs,depth", ...rest], { cwd });
  const [svg, again, png] = [await draw("--format", "svg"), await draw("--format", "svg", "--out", "two.svg"), await draw("--format", "png", "--out", "two.png")];
  assert.equal([svg.code, again.code, png.code], [0, 0, 0], svg.stderr + again.stderr + png.stderr);
  assert.match(svg.stdout, /^<svg width="900" height="560"[\s\S]*>depth 4<\/text>[\s\S]*<\/svg>\n$/);
  assert.is(readFileSync(join(cwd, "two.svg"), "utf8"), svg.stdout);
  const { format, width, height } = await sharp(readFileSync(join(cwd, "two.png"))).metadata();
  assert.equal([format, width, height], ["png", 1800, 1120]);
});

test("refuses what makes no picture before it works anything out", async () => {
  const cwd = folderWith({ "two.ts": source });
  for (const [args, sentence] of [
    [["--format", "png"], "--format png makes bytes, which are no text for a terminal: add --out plot.png"],
    [["--plot", "params_m,gmacs"], "--plot is of a page or a picture: add --format html, svg or png"],
    [["--format", "svg", "--plot", "params_m"], "--plot takes two columns or three"],
    [["--format", "svg", "--plot", "params_m,gmac"], "--plot: gmac is no column; did you mean gmacs?"],
    [["--format", "html", "--plot", "params_m,metric", "--out", "x.html"], "y: no row has a value in a column metric"],
    [["--format", "svg", "--where", "depth > 100"], "rows: there are none with numbers to draw"],
  ] as const) {
    const { code, stdout, stderr } = await vitc(["sweep", "two.ts", ...args], { cwd });
    assert.equal([code, stdout], [1, ""], args.join(" "));
    assert.ok(stderr.includes(sentence), `${args.join(" ")}: ${stderr}`);
  }
  assert.not.ok(existsSync(join(cwd, "x.html")));
});

test.run();

/** examples/node as somebody with a folder of photographs runs it. */
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { softwareReason } from "../tools/adapter.js";
import { fixturePath } from "../tools/fixtures.js";
import { importPackage, temporaryFolder } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const program = ["--import", "tsx", join(root, "examples/node/main.ts")];
const folder = temporaryFolder("node-example");
const photos = join(folder, "photos");
const table = join(folder, "table.csv");

function run(...args: readonly string[]): { readonly status: number | null; readonly out: string; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...args], { encoding: "utf8", cwd: root, timeout: 120_000 });
  // What is said of a software adapter is not about the example.
  return { status, out: stdout, said: stderr.replace(/^No GPU was found.*\n/m, "") };
}

const reason = await softwareReason();
if (reason !== undefined) skipAll("examples/node", reason);
else {
  const test = suite("examples/node");
  const names = ["ship-03", "ship-06", "cat-00", "truck-01", "horse-00"].map((name) => `${name}.png`);

  test.before(() => {
    mkdirSync(join(photos, "some, quoted"), { recursive: true });
    for (const name of names) copyFileSync(fixturePath(`vit-cifar10/photos/${name}`), join(photos, name));
    copyFileSync(fixturePath("vit-cifar10/photos/ship-08.png"), join(photos, 'some, quoted/ship "8".png'));
    writeFileSync(join(photos, "broken.png"), "no picture");
  });

  test("writes a row for each photograph, in order, and says what it leaves out", async () => {
    const { status, out, said } = run("embed", photos, "--out", table);
    assert.is(status, 0, said);
    assert.match(out, /6 photographs, .* a second; 1 left out\n$/);
    assert.match(said, "broken.png");
    const [head, ...lines] = readFileSync(table, "utf8").trim().split("\n");
    assert.is(head, `path,${Array.from({ length: 128 }, (_, i) => i).join()}`);
    assert.equal(lines.map((line) => line.slice(0, line.indexOf(".png"))), ["photos/cat-00", "photos/horse-00", "photos/ship-03", "photos/ship-06", '"photos/some, quoted/ship ""8""', "photos/truck-01"]);
    const model = await (await importPackage(join(root, "generated/vit-cifar10-attention"))).load({ weights: fixturePath("vit-cifar10/model.safetensors"), adapter: "software", onNotice: () => {} });
    const { embedding } = await model.run(fixturePath("vit-cifar10/photos/cat-00.png"));
    model.dispose();
    const cells = lines[0]!.split(",").slice(1).map(Number);
    assert.is(cells.length, 128);
    cells.forEach((cell, i) => assert.ok(Math.abs(cell - embedding![i]!) < 1e-6));
    assert.equal(readdirSync(folder).toSorted(), ["photos", "table.csv"], "no draft is left");
  });

  test("the nearest of a ship are ships, itself left out", () => {
    const { status, out, said } = run("nearest", join(photos, "ship-03.png"), "--among", table, "--top", "2");
    assert.is(status, 0, said);
    const rows = out.trim().split("\n").map((line) => line.split("  "));
    assert.equal(rows.map(([, path]) => path), ["photos/ship-06.png", 'photos/some, quoted/ship "8".png']);
    assert.ok(rows.every(([similarity]) => Number(similarity) > 0.5 && Number(similarity) < 1));
  });

  test("mistakes are one line each, and write nothing", () => {
    const mistakes: readonly (readonly [args: readonly string[], said: RegExp])[] = [
      [["embed", join(folder, "nowhere")], /nowhere is not there: name a folder with photographs/],
      [["embed", join(root, "specs")], /specs has no image files/],
      [["embed", photos, "--package", join(root, "generated/vit-cifar10")], /has no output embedding .* it has logits\. Compile it with outputs/],
      [["embed", photos, "--package", folder], /has no index\.js: name a folder that vitc compile wrote/],
      [["embed", photos, "--out", join(folder, "no/such/table.csv")], /cannot be written/],
      [["nearest", join(photos, "broken.png"), "--among", table], /broken\.png/],
      [["nearest", join(photos, "cat-00.png"), "--among", join(root, "package.json")], /is no table of embeddings/],
      [["nearest", join(photos, "cat-00.png"), "--among", table, "--top", "0"], /at least 1/],
    ];
    const before = readFileSync(table, "utf8");
    for (const [args, expected] of mistakes) {
      const { status, out, said } = run(...args);
      assert.is(status, 1, said);
      assert.is(out, "");
      assert.match(said, expected);
      assert.not.match(said, /\n\s+at /, "no stack");
    }
    assert.is(readFileSync(table, "utf8"), before);
  });

  test("Ctrl-C leaves the table that was there, and no half of another", async () => {
    const many = join(folder, "many");
    mkdirSync(many);
    for (let i = 0; i < 400; i++) copyFileSync(fixturePath("vit-cifar10/photos/cat-00.png"), join(many, `${i}.png`));
    const out = join(folder, "many.csv");
    const child = spawn(process.execPath, [...program, "embed", many, "--out", out], { cwd: root, stdio: "ignore" });
    const draft = `${out}.${child.pid}.part`;
    const ended = new Promise<number | null>((done) => child.once("exit", done));
    while (!existsSync(draft) && child.exitCode === null) await new Promise((turn) => setTimeout(turn, 20));
    child.kill("SIGINT");
    assert.is(await ended, 130);
    assert.not.ok(existsSync(out));
    assert.not.ok(existsSync(draft));
  });

  test.run();
}

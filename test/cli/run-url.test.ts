/** `vitc run` with weights at a URL: read by ranges from a server, and a sentence where there are none. */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { compile } from "../../compiler/compile.js";
import { findSoftwareAdapter } from "../../runtime/node.js";
import { noteFixture, readTensors, reference, worstError } from "../tools/fixtures.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";
import { folderWith, vitc } from "./vitc.js";

/** Packages look for webgpu and for the software adapter from here. */
const cwd = fileURLToPath(new URL("../..", import.meta.url));

const found = await findSoftwareAdapter();
if ("reason" in found) skipAll("vitc run, URLs", found.reason);
else {
  const test = suite("vitc run, URLs");
  const fixture = noteFixture("gray");
  const folder = folderWith({});
  const { files } = await compile(fixture.spec, { typecheck: false });
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, "p", path)), { recursive: true });
    writeFileSync(join(folder, "p", path), text);
  }
  mkdirSync(join(folder, "weights"));
  copyFileSync(fixture.weightsPath, join(folder, "weights/model.safetensors"));
  writeFileSync(join(folder, "weights/page.safetensors"), "<!doctype html><title>Sign in</title>");
  const server = await serve({ "/": join(folder, "weights") });
  const run = (file: string, ...more: readonly string[]) => vitc(["run", join(folder, "p"), "--input", fixture.ioPath, "--weights", `${server.url}/${file}`, "--adapter", "software", ...more], { cwd });

  test("the weights of a URL give PyTorch's logits", async () => {
    const output = join(folder, "out.safetensors");
    const { code, stderr } = await run("model.safetensors", "--output", output);
    assert.is(code, 0, stderr);
    assert.ok(worstError(readTensors(output).get("logits")!.data, reference(fixture, "logits").data) <= 1e-4);
  });

  test("a URL without weights is refused by what is there, and prints nothing", async () => {
    for (const [file, says] of [["none.safetensors", /none\.safetensors.*404/], ["page.safetensors", /page\.safetensors.*(HTML|not a safetensors file)/s]] as const) {
      const { code, stdout, stderr } = await run(file);
      assert.equal([code, stdout], [1, ""], stderr);
      assert.match(stderr, says);
    }
  });

  test.after(() => server.close());
  test.run();
}

/**
 * Saved models of timm and transformers, from their config.json and weight file as they lie, on an adapter: every tensor of io.safetensors, and
 * where there is a maps.safetensors every attention map.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { specOfConfig } from "../../compiler/families/index.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { withSizes, type Sizes } from "../../compiler/spec/image.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { abi, Model, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { fixturePath, readTensors, worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

const reason = await softwareReason();
if (reason) skipAll("saved models", reason);
else {
  const test = suite("saved models");
  const { device } = await platform.requestDevice({ adapter: "software" });

  /** The largest |error| / (1 + |reference|) of all outputs, which have the names of the reference; at other sizes than the model's, if they are given. */
  async function worstOf(folder: string, change: (code: string) => string = (code) => code, sizes: Sizes = {}): Promise<number> {
    const processor = existsSync(`${folder}/preprocessor_config.json`) ? json(`${folder}/preprocessor_config.json`) : undefined;
    const { spec } = specOfConfig(json(`${folder}/config.json`), { processor });
    const maps = existsSync(`${folder}/maps.safetensors`) ? readTensors(`${folder}/maps.safetensors`) : new Map<string, never>();
    const sized = withSizes(spec, sizes);
    const { plan, kernels, recipe } = makePlan(resolve(maps.size > 0 ? { ...sized, outputs: [...(sized.outputs ?? []), "blocks.*.attn"] } : sized));
    const variant = { plan, recipe, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, change(code)])) };
    const definition: ModelDefinition = { abi, variants: [variant], command: "", platform: () => Promise.resolve(platform) };
    using model = await Model.load<AnyOutputs>(definition, { weights: `${folder}/model.safetensors`, device, onNotice: () => {} });
    const io = new Map([...readTensors(`${folder}/io.safetensors`), ...maps]);
    const outputs = await model.run(f32(io.get("input")!.data));
    assert.equal(Object.keys(outputs).toSorted(), [...io.keys()].filter((name) => name !== "input").toSorted());
    return Math.max(...Object.entries(outputs).map(([name, values]) => worstError(values, io.get(name)!.data)));
  }

  // All of transformers' are in `unit/hf`, in f64; here are those whose kernels or files differ.
  const saved = { timm: readdirSync(fixturePath("timm")).toSorted(), hf: ["beit-classify", "beit-other-size", "beit-shared", "clip-model", "clip-vision", "clip-vision-projection", "deit-distilled", "dinov2", "dinov2-registers", "dinov2-registers-other-size", "dinov3", "dinov3-gated", "siglip-classify", "siglip-vision", "vit-classify", "vit-mae", "vit-model"] };
  for (const [library, names] of Object.entries(saved)) {
    for (const name of names) {
      test(`${library}: ${name}`, async () => {
        const worst = await worstOf(fixturePath(`${library}/${name}`));
        assert.ok(worst < 1e-4, `off by ${worst}`);
      });
    }
  }

  // All are in `unit/resample`, in f64; here are those with steps of their own in the recipe.
  const sizes = json(fixturePath("resample/sizes.json")) as Readonly<Record<string, Sizes>>;
  for (const name of ["beit_base_patch16_224", "flexivit_small", "vit_base_patch16_224", "vit_so400m_patch14_siglip_384"]) {
    test(`timm: ${name} at another size`, async () => {
      const worst = await worstOf(fixturePath(`resample/${name}`), undefined, sizes[name]);
      assert.ok(worst < 1e-4, `off by ${worst}`);
    });
  }

  test("kernels that add something wrong are seen", async () => {
    const wrong = (code: string): string => code.replaceAll(/^(\s*)out\[([^\]]+)\] = (.*);$/gm, "$1out[$2] = $3 * 1.01;");
    assert.ok((await worstOf(fixturePath("timm/vit_base_patch16_dinov3"), wrong)) > 1e-4);
  });

  test.run();
}

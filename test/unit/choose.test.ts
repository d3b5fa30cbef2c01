/** Which choice of a routine a device runs, and which profiles a number of images: small plans made by hand, and those of the examples. */
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { targets } from "../../compiler/target/targets.js";
import { adapterKey, chooseProfiles, chooseRoutines, launchesOf, targetOf, usableChoices, type ChooseOptions } from "../../runtime/choose.js";
import { abi, type ModelDefinition } from "../../runtime/definition.js";
import { describeAdapter, type AdapterInfo, type RawAdapterInfo } from "../../runtime/device.js";
import type { Choice, Dispatch, Kernel, Plan, Profile } from "../../runtime/plan.js";
import { variantsFor } from "../../runtime/variants.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("choosing routines");

// ------------------------------------------------------------------------------------------------------ adapters

/** What drivers say of themselves. */
const raw = {
  swiftshader: { vendor: "google", architecture: "swiftshader", device: "SwiftShader Device", description: "SwiftShader driver-5.0.0", isFallbackAdapter: true, subgroupMinSize: 4, subgroupMaxSize: 4 },
  llvmpipe: { vendor: "mesa", architecture: "", device: "llvmpipe (LLVM 19.1.7, 256 bits)", description: "llvmpipe: Mesa 25.0.7 (LLVM 19.1.7)", subgroupMinSize: 8, subgroupMaxSize: 8 },
  intel: { vendor: "intel", architecture: "gen-12lp", device: "", description: "Intel(R) Iris(R) Xe Graphics", subgroupMinSize: 8, subgroupMaxSize: 32 },
  apple: { vendor: "apple", architecture: "metal-3", device: "", description: "Apple M2", subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [{ M: 8, N: 8, K: 8, componentType: "f16", resultComponentType: "f32" }] },
  adreno: { vendor: "qualcomm", architecture: "adreno-7xx", device: "", description: "Adreno (TM) 740" },
  vega: { vendor: "amd", architecture: "gcn-5", device: "", description: "AMD Radeon Graphics (RADV RENOIR)" },
  radeon: { vendor: "amd", architecture: "rdna-3", device: "", description: "AMD Radeon RX 7900 XTX", subgroupMinSize: 32, subgroupMaxSize: 64 },
  geforce: { vendor: "nvidia", architecture: "ada-lovelace", device: "", description: "NVIDIA GeForce RTX 4090", subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [{ M: 16, N: 16, K: 16, componentType: "f16", resultComponentType: "f32" }, { M: 16, N: 8, K: 16, componentType: "f16", resultComponentType: "f16" }] },
} satisfies Readonly<Record<string, RawAdapterInfo>>;

type AdapterName = keyof typeof raw;
const names = Object.keys(raw) as AdapterName[];
const adapter = (name: AdapterName): AdapterInfo => describeAdapter(raw[name]);

test("software adapters are told apart by their subgroups, GPUs by who built them", () => {
  const kinds: Readonly<Record<AdapterName, string>> = { swiftshader: "cpu4", llvmpipe: "cpu8", intel: "gpu", apple: "gpu", adreno: "gpu", vega: "gpu", radeon: "large-gpu", geforce: "large-gpu" };
  for (const name of names) assert.is(targetOf(adapter(name)), kinds[name], name);
  // A browser that says nothing but that it has a GPU, and software that does not tell its subgroups.
  assert.is(targetOf(describeAdapter({})), "gpu");
  assert.is(targetOf(describeAdapter({ description: "Microsoft Basic Render Driver" })), "cpu4");
});

test("every kind of adapter is one that the compiler has costs for", () => {
  const known = new Set(targets.map(({ name }) => name));
  assert.equal(new Set(names.map((name) => targetOf(adapter(name)))), known);
});

test("an adapter's key is its four names, and no more: tables on disk are found by it", () => {
  const { geforce } = raw;
  assert.is(adapterKey(adapter("geforce")), "nvidia|ada-lovelace||NVIDIA GeForce RTX 4090");
  assert.is(adapterKey(adapter("swiftshader")), "google|swiftshader|SwiftShader Device|SwiftShader driver-5.0.0");
  assert.is(new Set(names.map((name) => adapterKey(adapter(name)))).size, names.length);
  for (const field of ["vendor", "architecture", "device", "description"] as const) assert.is.not(adapterKey(describeAdapter({ ...geforce, [field]: "other" })), adapterKey(adapter("geforce")), field);
  // What a browser leaves out, or a newer one adds, must not lose the table.
  assert.is(adapterKey(describeAdapter({ vendor: geforce.vendor, architecture: geforce.architecture, device: geforce.device, description: geforce.description })), adapterKey(adapter("geforce")));
});

// ------------------------------------------------------------------------------------------------------ choices

const kernel = (id: string, needs: Partial<Kernel> = {}): Kernel => ({ id, bindings: [], workgroupSize: [1, 1, 1], ...needs });
const kernels = [
  kernel("anywhere"),
  kernel("first"),
  kernel("subgroups", { features: ["subgroups"] }),
  kernel("eight", { features: ["subgroups"], subgroupSize: 8 }),
  kernel("matrix", { features: ["shader-f16", "matrices"], subgroupSize: 32, matrix: [16, 16, 16] }),
];

const choice = (name: string, costs: readonly number[], launches: readonly string[] = [name]): Choice => ({ name, costs, launches: launches.map((id) => ({ kernel: id, workgroups: [1, 1, 1] })) });
const targetNames = ["cpu4", "cpu8", "gpu", "large-gpu"];
// Of those that run, for each kind another choice is cheapest, and `anywhere` never is.
const routine = {
  id: "product",
  choices: [choice("anywhere", [9, 9, 9, 9]), choice("subgroups", [1, 2, 2, 8]), choice("eight", [0.5, 1, 0.1, 7]), choice("two", [3, 3, 1, 3], ["first", "anywhere"]), choice("matrix", [99, 99, 0.5, 1])],
};

const planOf = (changes: Partial<Plan> = {}): Plan => ({
  ...makePlan(resolve(smallSpec())).plan,
  ...{ kernels, routines: [routine], targets: targetNames, tuned: [] },
  ...changes,
});
const plan = planOf();

const every: ReadonlySet<string> = new Set(["shader-f16", "subgroups", "matrices"]);
const on = (name: AdapterName, features: ReadonlySet<string> = every): ChooseOptions => ({ adapter: adapter(name), features });
const chosen = (options: ChooseOptions, of: Plan = plan): string => {
  const { choice: { name }, by } = chooseRoutines(of, options).get("product")!;
  return `${name} by ${by}`;
};

test("the choice is the one that costs least on the adapter's kind", () => {
  assert.is(chosen(on("swiftshader")), "subgroups by cost");
  assert.is(chosen(on("llvmpipe")), "eight by cost");
  assert.is(chosen(on("intel")), "two by cost");
  assert.is(chosen(on("geforce")), "matrix by cost");
  // Costs are found by the names of the plan's targets, in whatever order.
  const reversed = planOf({ targets: targetNames.toReversed(), routines: [{ ...routine, choices: routine.choices.map((one) => ({ ...one, costs: one.costs.toReversed() })) }] });
  for (const name of names) assert.is(chosen(on(name), reversed), chosen(on(name)), name);
});

test("of equal costs the first is taken, and so it is where a plan has no costs for the kind", () => {
  assert.is(chosen(on("intel"), planOf({ routines: [{ ...routine, choices: routine.choices.map((one) => ({ ...one, costs: [1, 1, 1, 1] })) }] })), "anywhere by cost");
  assert.is(chosen(on("intel"), planOf({ targets: ["toaster"] })), "anywhere by cost");
});

test("a choice is left out where a kernel of it lacks a feature, its subgroups or its matrices", () => {
  const without = (...missing: readonly string[]): ReadonlySet<string> => new Set([...every].filter((feature) => !missing.includes(feature)));
  assert.is(chosen(on("swiftshader", without("subgroups"))), "two by cost");
  assert.is(chosen(on("llvmpipe", without("subgroups"))), "two by cost");
  for (const missing of ["shader-f16", "matrices"]) assert.is(chosen(on("geforce", without(missing))), "two by cost", missing);
  // Apple's matrices are 8 x 8, Radeon's subgroups have no one size, and neither tells what the other does.
  assert.is(chosen(on("apple")), "two by cost");
  assert.is(chosen(on("radeon")), "two by cost");
  assert.is(chosen({ ...on("geforce"), adapter: { ...adapter("geforce"), matrices: [[16, 16, 8], [16, 16, 16]] } }), "matrix by cost");
  assert.is(chosen({ ...on("geforce"), adapter: { ...adapter("geforce"), matrices: [[16, 16, 8]] } }), "two by cost");
  // One launch of a choice that cannot run takes the choice away.
  const second = choice("mixed", [0, 0, 0, 0], ["anywhere", "matrix"]);
  const mixed = planOf({ routines: [{ ...routine, choices: [...routine.choices, second] }] });
  assert.is(chosen(on("geforce"), mixed), "mixed by cost");
  assert.is(chosen(on("intel"), mixed), "two by cost");
  assert.equal(usableChoices(routine, new Map(kernels.map((one) => [one.id, one])), on("intel", new Set())).map(({ name }) => name), ["anywhere", "two"]);
});

test("where one choice alone runs, nothing is chosen", () => {
  const few = planOf({ routines: [{ ...routine, choices: [choice("anywhere", [9, 9, 9, 9]), choice("matrix", [1, 1, 1, 1])] }] });
  assert.is(chosen(on("intel"), few), "anywhere by only");
  assert.is(chosen(on("geforce"), few), "matrix by cost");
});

const table = (name: AdapterName, wanted: string) => ({ adapter: adapterKey(adapter(name)), choices: { product: wanted } });

test("what was measured on this adapter beats costs, and the caller's measurements beat the plan's", () => {
  const shipped = planOf({ tuned: [table("intel", "subgroups"), table("geforce", "anywhere")] });
  assert.is(chosen(on("intel"), shipped), "subgroups by tuned");
  assert.is(chosen(on("geforce"), shipped), "anywhere by tuned");
  assert.is(chosen(on("vega"), shipped), "two by cost");
  assert.is(chosen({ ...on("intel"), tuned: [table("intel", "anywhere")] }, shipped), "anywhere by tuned");
  // A caller's table of another adapter says nothing here.
  assert.is(chosen({ ...on("intel"), tuned: [table("geforce", "anywhere")] }, shipped), "subgroups by tuned");
  assert.is(chosen({ ...on("intel"), tuned: [] }, shipped), "subgroups by tuned");
});

test("a table that names a choice which is not there, or does not run here, leaves it to the costs", () => {
  assert.is(chosen({ ...on("intel"), tuned: [table("intel", "register_64x64_from_an_older_version")] }), "two by cost");
  assert.is(chosen({ ...on("intel"), tuned: [table("intel", "matrix")] }), "two by cost");
  assert.is(chosen({ ...on("intel"), tuned: [{ adapter: adapterKey(adapter("intel")), choices: { attention: "anywhere" } }] }), "two by cost");
});

test("a table whose choice cannot run hides no later one", () => {
  const stale = [table("intel", "register_64x64_from_an_older_version"), table("intel", "matrix")];
  assert.is(chosen({ ...on("intel"), tuned: [...stale, table("intel", "subgroups"), table("intel", "anywhere")] }), "subgroups by tuned");
  assert.is(chosen({ ...on("intel"), tuned: stale }, planOf({ tuned: [table("intel", "anywhere")] })), "anywhere by tuned");
});

test("the command for another dtype has that dtype once", () => {
  const definition = (command: string, dtype: "f32" | "f16"): ModelDefinition => ({ abi, variants: [{ plan: planOf({ dtype }), kernels: {}, recipe: { tensors: [] } }], command, platform: () => Promise.reject(new Error("none")) });
  assert.throws(() => variantsFor(definition("npx vitc compile my.ts --batch 1 --dtype f16 --shared-runtime", "f16"), "f32"), /compile it for both: npx vitc compile my\.ts --batch 1 --shared-runtime --dtype f16,f32$/);
  assert.throws(() => variantsFor(definition("npx vitc compile my.ts", "f32"), "f16"), /compile it for both: npx vitc compile my\.ts --dtype f32,f16$/);
});

test("launches come in the order of the dispatches, each with its dispatch's last one told", () => {
  const dispatch = (label: string): Dispatch => ({ label, routine: "product", views: [], flops: 1, bytes: 1 });
  const [profile] = plan.programs.infer as [Profile];
  const planned = launchesOf({ ...profile, dispatches: [dispatch("a"), dispatch("b")] }, chooseRoutines(plan, on("intel")));
  assert.equal(planned.map(({ dispatch: { label }, launch, last }) => [label, launch.kernel, last]), [["a", "first", false], ["a", "anywhere", true], ["b", "first", false], ["b", "anywhere", true]]);
});

test("every example runs on every adapter: a routine's first choice needs nothing beyond its dtype", () => {
  for (const [name, spec] of exampleSpecs)
    for (const [dtype, features] of [["f32", []], ["f16", ["shader-f16"]]] as const) {
      const { plan: compiled } = makePlan(resolve(spec), { dtype });
      const known = new Map(compiled.kernels.map((one) => [one.id, one]));
      for (const { id, choices: [first] } of compiled.routines)
        for (const { kernel: of } of first!.launches) {
          const { features: needed = [], subgroupSize, matrix } = known.get(of)!;
          assert.equal([needed.filter((feature) => !(features as readonly string[]).includes(feature)), subgroupSize, matrix], [[], undefined, undefined], `${name} ${dtype}: ${id}`);
        }
      for (const which of names) {
        const options = on(which, new Set(features));
        for (const [id, { choice: one }] of chooseRoutines(compiled, options)) assert.ok(usableChoices({ id, choices: [one] }, known, options).length === 1, `${name} ${dtype} on ${which}: ${id}`);
      }
    }
});

// ------------------------------------------------------------------------------------------------------ profiles

const profiles = (flopsPerImage: number, batches: readonly number[]): readonly Profile[] => batches.map((batch): Profile => ({ ...(plan.programs.infer as [Profile])[0], batch, flops: flopsPerImage * batch }));

/** The least cost of profiles that hold so many images together, by trying them all. */
function leastCost(costs: ReadonlyMap<number, number>, count: number, known = new Map<number, number>()): number {
  if (count <= 0) return 0;
  const found = known.get(count) ?? Math.min(...[...costs].map(([batch, cost]) => cost + leastCost(costs, count - batch, known)));
  known.set(count, found);
  return found;
}

test("images are run by the profiles that cost least together, the largest first", () => {
  const run = (count: number, batches: readonly number[], flopsPerImage = 1e9): number[] => chooseProfiles(profiles(flopsPerImage, batches), count).map(({ batch }) => batch);
  assert.equal(run(1, [1, 8]), [1]);
  assert.equal(run(8, [1, 8]), [8]);
  assert.equal(run(10, [1, 8]), [8, 1, 1]);
  // Where images cost little, dispatches count: seven images are better padded to eight.
  assert.equal(run(7, [1, 8]), [1, 1, 1, 1, 1, 1, 1]);
  assert.equal(run(7, [1, 8], 1e6), [8]);
  assert.equal(run(33, [32]), [32, 32]);
  assert.is(run(100, [8]).length, 13);
});

test("no other profiles that hold as many images cost less", () => {
  const batches = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(batches, fc.integer({ min: 1, max: 18 }), fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 4, maxLength: 4 }), (sizes, count, megaflops) => {
      const dispatches = (plan.programs.infer as [Profile])[0].dispatches;
      const all = sizes.map((batch, i): Profile => ({ ...(plan.programs.infer as [Profile])[0], batch, flops: 1e6 * megaflops[i]! }));
      const cost = ({ flops }: Profile): number => flops + 1e7 * dispatches.length;
      const picked = chooseProfiles(all, count);
      assert.ok(picked.reduce((sum, { batch }) => sum + batch, 0) >= count);
      assert.equal(picked.map(({ batch }) => batch), picked.map(({ batch }) => batch).toSorted((a, b) => b - a));
      // Far from the end the largest is taken unasked; here the end is near only for the largest sizes.
      if (count <= 2 * Math.max(...sizes)) assert.is(picked.reduce((sum, one) => sum + cost(one), 0), leastCost(new Map(all.map((one) => [one.batch, cost(one)])), count));
    }),
    { numRuns: 300, seed: Number(process.env["SEED"] ?? 1) },
  );
});

test.run();

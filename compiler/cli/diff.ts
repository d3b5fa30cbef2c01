import { Command } from "commander";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Dispatch, DType, Plan, Profile } from "../../runtime/plan.js";
import { expectedCosts, takenOn } from "../explain/routines.js";
import { UserError, type Cli } from "./context.js";
import { gigaflops, mebibytes, some, table } from "./format.js";
import type { DiffReport } from "./json.js";
import { loadSpec } from "./load-spec.js";
import { batchOption, dtypeOption, imageOption, jsonOption, patchOption, withOverrides } from "./options.js";
import { isPlan, planFiles } from "./run-package.js";

/** A plan and the text of its kernels, by id. */
interface Side {
  readonly plan: Plan;
  readonly kernels: Readonly<Record<string, string>>;
  /** All plans, one a dtype, in the order of preference; with --dtype the one. */
  readonly plans: readonly Plan[];
}

interface Options {
  readonly batch?: readonly number[];
  readonly image?: readonly [number, number];
  readonly patch?: readonly [number, number];
  readonly dtype?: DType;
  readonly json?: boolean;
}

type ProfileDiff = DiffReport["profiles"][number];
type ComparedDispatch = ProfileDiff["changed"][number]["a"];

/** `vitc diff A B`: what differs between two plans. */
export function diffCommand(cli: Cli): Command {
  return new Command("diff")
    .summary("compare two plans")
    .description("Compares two plans: dispatches by their labels, what each kind of adapter takes for them if it is not tuned, kernels, work, memory. Each is a spec, which is planned now, or the folder of a package, whose plan is read as it lies there.")
    .argument("<a>", "a spec, or a package's folder")
    .argument("<b>", "likewise")
    .addOption(batchOption())
    .addOption(imageOption())
    .addOption(patchOption())
    .addOption(dtypeOption("plan of which dtype to compare (default: the first of each)"))
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc diff generated/my-vit my.ts         what a change of the spec does\n  $ vitc diff models.ts#tiny models.ts#small")
    .action(async (a: string, b: string, options: Options) => {
      const [sideA, sideB] = [await loadSide(cli, a, options), await loadSide(cli, b, options)];
      const report = compare(sideA, sideB);
      if (options.json === true) return cli.json((await import("./json.js")).jsonShapes.diff, report);
      cli.print(describe(report));
    });
}

async function loadSide(cli: Cli, reference: string, options: Options): Promise<Side> {
  const folder = resolve(cli.cwd, reference);
  const entry = await stat(folder).catch(() => undefined);
  if (entry?.isDirectory() === true) return loadPackage(folder, reference, options.dtype);
  const { spec } = await loadSpec(reference, cli.cwd);
  const [{ makePlan }, { resolve: resolveSpec }] = await Promise.all([import("../plan/plan.js"), import("../spec/resolve.js")]);
  const resolved = resolveSpec(withOverrides(spec, options));
  const { plan, kernels } = makePlan(resolved);
  const plans = resolved.dtype.map((dtype) => (dtype === plan.dtype ? plan : makePlan(resolved, { dtype }).plan));
  return { plan, plans, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])) };
}

async function loadPackage(folder: string, reference: string, dtype: DType | undefined): Promise<Side> {
  const { readProvenance } = await import("../emit/write.js");
  const provenance = await readProvenance(folder);
  if (provenance === undefined) throw new UserError(`${reference} is a folder and not a package of vitc: it has no package.json with a "vitc" entry; name a package or a spec's file`);
  const load = async (path: string): Promise<Record<string, unknown>> =>
    (import(pathToFileURL(join(folder, path)).href) as Promise<Record<string, unknown>>).catch((cause: unknown) => {
      throw new UserError(`${join(reference, path)} cannot be read (${cause instanceof Error ? cause.message : String(cause)}): compile the package again`, { cause });
    });
  const [{ kernels }, modules] = await Promise.all([load(join("kernels", "index.js")), Promise.all(planFiles(provenance).map(load))]);
  const plans = modules.map(({ plan }) => plan).filter(isPlan);
  if (plans.length < modules.length || typeof kernels !== "object" || kernels === null) throw new UserError(`${reference} holds no plan that this version reads: compile the package again`);
  const plan = dtype === undefined ? plans[0]! : plans.find((each) => each.dtype === dtype);
  if (plan === undefined) throw new UserError(`--dtype ${dtype}: ${reference} was compiled for ${plans.map((each) => each.dtype).join(" and ")}`);
  // In a package's file each text starts on a line of its own; the kernel starts with what follows. Kernels of other dtypes are no part of it.
  const own = new Set(plan.kernels.map(({ id }) => id));
  return { plan, plans: dtype === undefined ? plans : [plan], kernels: Object.fromEntries(Object.entries(kernels).filter(([id]) => own.has(id)).map(([id, text]) => [id, String(text).replace(/^\n/, "")])) };
}

function compare(a: Side, b: Side): DiffReport {
  const [kernelsA, kernelsB] = [Object.keys(a.kernels), Object.keys(b.kernels)];
  const [profilesA, profilesB] = [a.plan.programs.infer, b.plan.programs.infer];
  const without = (profiles: readonly Profile[], others: readonly Profile[]): number[] => profiles.map(({ batch }) => batch).filter((batch) => !others.some((other) => other.batch === batch));
  const kernels = {
    count: { a: kernelsA.length, b: kernelsB.length },
    added: kernelsB.filter((id) => !Object.hasOwn(a.kernels, id)),
    removed: kernelsA.filter((id) => !Object.hasOwn(b.kernels, id)),
    changed: kernelsA.filter((id) => Object.hasOwn(b.kernels, id) && a.kernels[id] !== b.kernels[id]),
  };
  const profiles = profilesA.flatMap((profileA) => {
    const profileB = profilesB.find(({ batch }) => batch === profileA.batch);
    return profileB ? [compareProfiles({ plan: a.plan, profile: profileA }, { plan: b.plan, profile: profileB })] : [];
  });
  // A package says its fingerprint itself, so what it holds is looked at too.
  const differs = kernels.changed.length > 0 || profiles.some(({ added, removed, changed, moved }) => added.length + removed.length + changed.length + moved > 0);
  const dtypes = { a: a.plans.map(({ dtype }) => dtype), b: b.plans.map(({ dtype }) => dtype) };
  const otherPlans = a.plans.filter((plan) => plan.dtype !== a.plan.dtype && b.plans.some(({ dtype, fingerprint }) => dtype === plan.dtype && fingerprint !== plan.fingerprint)).map(({ dtype }) => dtype);
  const tuned = compareTables(a.plan, b.plan);
  const alike = dtypes.a.join() === dtypes.b.join() && otherPlans.length + tuned.onlyA.length + tuned.onlyB.length + tuned.changed.length === 0;
  return {
    same: a.plan.fingerprint === b.plan.fingerprint && !differs && alike,
    samePlan: a.plan.fingerprint === b.plan.fingerprint && !differs,
    name: { a: a.plan.name, b: b.plan.name },
    fingerprint: { a: a.plan.fingerprint, b: b.plan.fingerprint },
    dtype: { a: a.plan.dtype, b: b.plan.dtype },
    dtypes,
    otherPlans,
    tuned,
    weightBytes: { a: sum(a.plan.weightBuffers), b: sum(b.plan.weightBuffers) },
    kernels,
    batches: { onlyA: without(profilesA, profilesB), onlyB: without(profilesB, profilesA) },
    profiles,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Tables of measured choices are no part of a plan's fingerprint, and decide what is taken. */
function compareTables(a: Plan, b: Plan): DiffReport["tuned"] {
  const tables = ({ tuned }: Plan) => new Map(tuned.map(({ adapter, choices }) => [adapter, JSON.stringify(Object.entries(choices).sort(([one], [other]) => (one < other ? -1 : 1)))]));
  const [tablesA, tablesB] = [tables(a), tables(b)];
  return {
    onlyA: [...tablesA.keys()].filter((adapter) => !tablesB.has(adapter)),
    onlyB: [...tablesB.keys()].filter((adapter) => !tablesA.has(adapter)),
    changed: [...tablesA.keys()].filter((adapter) => tablesB.has(adapter) && tablesA.get(adapter) !== tablesB.get(adapter)),
  };
}

/** A profile and the plan that it is of. */
interface ProfileOf {
  readonly plan: Plan;
  readonly profile: Profile;
}

function compareProfiles(a: ProfileOf, b: ProfileOf): ProfileDiff {
  const [dispatchesA, dispatchesB] = [byLabel(a.profile.dispatches), byLabel(b.profile.dispatches)];
  // Only kinds of adapter that both plans know can be compared.
  const targets = a.plan.targets.filter((target) => b.plan.targets.includes(target));
  const [shownA, shownB] = [shown(a.plan, targets), shown(b.plan, targets)];
  const changed: ProfileDiff["changed"] = [];
  let moved = 0;
  for (const [key, dispatchA] of dispatchesA) {
    const dispatchB = dispatchesB.get(key);
    if (dispatchB === undefined) continue;
    const [one, other] = [shownA(dispatchA), shownB(dispatchB)];
    if (JSON.stringify(one) !== JSON.stringify(other)) changed.push({ label: dispatchA.label, a: one, b: other });
    else if (JSON.stringify(dispatchA.views) !== JSON.stringify(dispatchB.views)) moved++;
  }
  const only = (these: ReadonlyMap<string, Dispatch>, others: ReadonlyMap<string, Dispatch>, show: (dispatch: Dispatch) => ComparedDispatch) => [...these].filter(([key]) => !others.has(key)).map(([, dispatch]) => ({ label: dispatch.label, ...show(dispatch) }));
  const pair = <T>(value: (side: ProfileOf) => T): { a: T; b: T } => ({ a: value(a), b: value(b) });
  const expected = pair(({ plan, profile }) => expectedCosts(plan, profile));
  return {
    batch: a.profile.batch,
    dispatches: pair(({ profile }) => profile.dispatches.length),
    flops: pair(({ profile }) => profile.flops),
    bytes: pair(({ profile }) => profile.bytes),
    arenaBytes: pair(({ profile }) => sum(profile.arenas.map(({ bytes }) => bytes))),
    expected: Object.fromEntries(targets.map((target) => [target, { a: expected.a[target]!, b: expected.b[target]! }])),
    added: only(dispatchesB, dispatchesA, shownB),
    removed: only(dispatchesA, dispatchesB, shownA),
    changed,
    moved,
  };
}

/** Dispatches by label; the second of a label has `#2` behind it, and so on. */
function byLabel(dispatches: readonly Dispatch[]): Map<string, Dispatch> {
  const seen = new Map<string, number>();
  return new Map(dispatches.map((dispatch) => {
    const times = (seen.get(dispatch.label) ?? 0) + 1;
    seen.set(dispatch.label, times);
    return [times === 1 ? dispatch.label : `${dispatch.label}#${times}`, dispatch];
  }));
}

/** What of a dispatch is compared. */
function shown(plan: Plan, targets: readonly string[]): (dispatch: Dispatch) => ComparedDispatch {
  const routines = new Map(plan.routines.map((routine) => [routine.id, routine]));
  return ({ routine: id, flops, bytes }) => {
    const routine = routines.get(id)!;
    return { routine: id, choices: routine.choices.map(({ name }) => name), taken: Object.fromEntries(targets.map((target) => [target, takenOn(plan, routine, target).name])), flops, bytes };
  };
}

// ------------------------------------------------------------------------------------------------------ as text

function describe(report: DiffReport): string {
  const { name, kernels, weightBytes, batches, profiles } = report;
  const rest = describeRest(report);
  if (report.samePlan) return [`${name.a} and ${name.b} have the same plan, ${report.fingerprint.a}${rest.length > 0 ? `, in ${report.dtype.a}, and differ in` : ""}`, ...rest].join("\n");
  const row = (what: string, { a, b }: { a: number; b: number }, format: (value: number) => string): string[] => [what, format(a), format(b), change(a, b)];
  const title = (side: "a" | "b"): string => (report.dtype.a === report.dtype.b ? name[side] : `${name[side]}, ${report.dtype[side]}`);
  const totals = table([
    ["", `A ${title("a")}`, `B ${title("b")}`, "B to A"],
    row("kernels", kernels.count, String),
    row("weights", weightBytes, mebibytes),
    ...profiles.flatMap((profile) => [
      row(`batch ${profile.batch}: dispatches`, profile.dispatches, String),
      row("  work", profile.flops, gigaflops),
      row("  traffic", profile.bytes, mebibytes),
      row("  arenas", profile.arenaBytes, mebibytes),
      ...Object.entries(profile.expected).map(([target, expected]) => row(`  expected on ${target}`, expected, expectedText)),
    ]),
  ]);
  const alone = [["A", batches.onlyA], ["B", batches.onlyB]] as const;
  return [
    totals,
    ...alone.filter(([, sizes]) => sizes.length > 0).map(([side, sizes]) => `only ${side} has batch ${sizes.join(", ")}, which is not compared${profiles.length === 0 ? " (--batch plans specs for the same sizes)" : ""}`),
    ...(kernels.changed.length > 0 ? [`kernels with another text: ${some(kernels.changed)}`] : []),
    ...profiles.map(describeDispatches).filter((text) => text !== ""),
    ...(rest.length > 0 ? [rest.join("\n")] : []),
  ].join("\n\n");
}

/** What differs beside the two plans: a line each. */
function describeRest({ dtypes, otherPlans, tuned }: DiffReport): readonly string[] {
  const tables = [["only A carries measured choices for", tuned.onlyA], ["only B carries measured choices for", tuned.onlyB], ["other measured choices for", tuned.changed]] as const;
  return [
    ...(dtypes.a.join() === dtypes.b.join() ? [] : [`dtypes: A ${dtypes.a.join(", ")}; B ${dtypes.b.join(", ")}`]),
    ...otherPlans.map((dtype) => `the plan in ${dtype}: compare it with --dtype ${dtype}`),
    ...tables.filter(([, adapters]) => adapters.length > 0).map(([what, adapters]) => `${what} ${some(adapters)}`),
  ];
}

const change = (a: number, b: number): string => (a === b ? "same" : a === 0 ? "" : `x ${(b / a).toFixed(2)}`);

/** One row for what is the same in many blocks: `blocks.{0-11}.mlp.fc1`. */
function describeDispatches({ batch, added, removed, changed, moved }: ProfileDiff): string {
  const entries = [
    ...removed.map(({ label, routine }) => ({ sign: "-", label, detail: routine })),
    ...added.map(({ label, routine }) => ({ sign: "+", label, detail: routine })),
    ...changed.map(({ label, a, b }) => ({ sign: "~", label, detail: a.routine === b.routine ? [a.routine, ...choiceChanges(a, b)].join("\n    ") : `${a.routine}\n    -> ${b.routine}` })),
  ];
  const groups = new Map<string, { sign: string; detail: string; pattern: string; blocks: number[] }>();
  for (const { sign, label, detail } of entries) {
    const pattern = label.replace(/^blocks\.\d+/, "blocks.*");
    const key = `${sign} ${pattern} ${detail}`;
    const group = groups.get(key) ?? { sign, detail, pattern, blocks: [] };
    groups.set(key, group);
    const block = /^blocks\.(\d+)/.exec(label)?.[1];
    if (block !== undefined) group.blocks.push(Number(block));
  }
  const lines = [...groups.values()].map(({ sign, detail, pattern, blocks }) => `${sign} ${pattern.replace("*", ranges(blocks))}\n    ${detail}`);
  if (moved > 0) lines.push(`${moved} more differ only in where their buffers lie`);
  return lines.length === 0 ? "" : [`batch ${batch}: dispatches removed (-), added (+), changed (~)`, ...lines].join("\n");
}

/** How the ways to do a routine differ, where its id is the same. */
function choiceChanges(a: ComparedDispatch, b: ComparedDispatch): readonly string[] {
  const missing = (from: readonly string[], names: readonly string[]): readonly string[] => names.filter((name) => !from.includes(name));
  const lists = [["no longer", missing(b.choices, a.choices)], ["now also", missing(a.choices, b.choices)]] as const;
  const moves = Object.entries(a.taken).filter(([target, name]) => b.taken[target] !== name);
  return [
    ...lists.filter(([, names]) => names.length > 0).map(([what, names]) => `${what} ${some(names)}`),
    ...moves.map(([target, name]) => `on ${target}: ${name} -> ${b.taken[target]!}`),
  ];
}

/** A time in microseconds that a cost model expects. */
const expectedText = (microseconds: number): string => (microseconds >= 1000 ? `${(microseconds / 1000).toPrecision(3)} ms` : `${microseconds.toPrecision(3)} us`);

/** `7`, or `{0-3,5}`. */
function ranges(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const n of numbers.toSorted((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run && n === run[1] + 1) run[1] = n;
    else runs.push([n, n]);
  }
  const text = runs.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(",");
  return numbers.length === 1 ? text : `{${text}}`;
}

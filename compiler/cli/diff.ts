import { Command } from "commander";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Dispatch, Plan, Profile } from "../../runtime/plan.js";
import { UserError, type Cli } from "./context.js";
import { gigaflops, mebibytes, some, table } from "./format.js";
import type { DiffReport } from "./json.js";
import { loadSpec } from "./load-spec.js";
import { batchOption, jsonOption } from "./options.js";

/** A plan and the text of its kernels, by id. */
interface Side {
  readonly plan: Plan;
  readonly kernels: Readonly<Record<string, string>>;
}

type ProfileDiff = DiffReport["profiles"][number];
type ComparedDispatch = ProfileDiff["changed"][number]["a"];

/** `vitc diff A B`: what differs between two plans. */
export function diffCommand(cli: Cli): Command {
  return new Command("diff")
    .summary("compare two plans")
    .description("Compares two plans: dispatches by their labels, kernels, work, memory. Each is a spec, which is planned now, or the folder of a package, whose plan is read as it lies there.")
    .argument("<a>", "a spec, or a package's folder")
    .argument("<b>", "likewise")
    .addOption(batchOption())
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc diff generated/my-vit my.ts         what a change of the spec does\n  $ vitc diff models.ts#tiny models.ts#small")
    .action(async (a: string, b: string, options: { readonly batch?: readonly number[]; readonly json?: boolean }) => {
      const [sideA, sideB] = [await loadSide(cli, a, options.batch), await loadSide(cli, b, options.batch)];
      const report = compare(sideA, sideB);
      if (options.json === true) return cli.json((await import("./json.js")).jsonShapes.diff, report);
      cli.print(describe(report));
    });
}

async function loadSide(cli: Cli, reference: string, batch: readonly number[] | undefined): Promise<Side> {
  const folder = resolve(cli.cwd, reference);
  const entry = await stat(folder).catch(() => undefined);
  if (entry?.isDirectory() === true) return loadPackage(folder, reference);
  const { spec } = await loadSpec(reference, cli.cwd);
  const [{ makePlan }, { resolve: resolveSpec }] = await Promise.all([import("../plan/plan.js"), import("../spec/resolve.js")]);
  const sized = batch === undefined || typeof spec !== "object" || spec === null ? spec : { ...spec, batch };
  const { plan, kernels } = makePlan(resolveSpec(sized));
  return { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])) };
}

async function loadPackage(folder: string, reference: string): Promise<Side> {
  const { readProvenance } = await import("../emit/write.js");
  if ((await readProvenance(folder)) === undefined) throw new UserError(`${reference} is a folder and not a package of vitc: it has no package.json with a "vitc" entry; name a package or a spec's file`);
  const load = async (path: string): Promise<Record<string, unknown>> =>
    (import(pathToFileURL(join(folder, path)).href) as Promise<Record<string, unknown>>).catch((cause: unknown) => {
      throw new UserError(`${join(reference, path)} cannot be read (${cause instanceof Error ? cause.message : String(cause)}): compile the package again`, { cause });
    });
  const [{ plan }, { kernels }] = await Promise.all([load("plan.js"), load(join("kernels", "index.js"))]);
  if (typeof plan !== "object" || plan === null || !("programs" in plan) || typeof kernels !== "object" || kernels === null) throw new UserError(`${reference} holds no plan that this version reads: compile the package again`);
  // In a package's file each text starts on a line of its own; the kernel starts with what follows.
  return { plan: plan as Plan, kernels: Object.fromEntries(Object.entries(kernels).map(([id, text]) => [id, String(text).replace(/^\n/, "")])) };
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
    return profileB ? [compareProfiles(profileA, profileB)] : [];
  });
  // A package says its fingerprint itself, so what it holds is looked at too.
  const differs = kernels.changed.length > 0 || profiles.some(({ added, removed, changed, moved }) => added.length + removed.length + changed.length + moved > 0);
  return {
    same: a.plan.fingerprint === b.plan.fingerprint && !differs,
    name: { a: a.plan.name, b: b.plan.name },
    fingerprint: { a: a.plan.fingerprint, b: b.plan.fingerprint },
    weightBytes: { a: sum(a.plan.weightBuffers), b: sum(b.plan.weightBuffers) },
    kernels,
    batches: { onlyA: without(profilesA, profilesB), onlyB: without(profilesB, profilesA) },
    profiles,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function compareProfiles(a: Profile, b: Profile): ProfileDiff {
  const [dispatchesA, dispatchesB] = [byLabel(a.dispatches), byLabel(b.dispatches)];
  const changed: ProfileDiff["changed"] = [];
  let moved = 0;
  for (const [key, dispatchA] of dispatchesA) {
    const dispatchB = dispatchesB.get(key);
    if (dispatchB === undefined) continue;
    const [shownA, shownB] = [shown(dispatchA), shown(dispatchB)];
    if (JSON.stringify(shownA) !== JSON.stringify(shownB)) changed.push({ label: dispatchA.label, a: shownA, b: shownB });
    else if (JSON.stringify(dispatchA.views) !== JSON.stringify(dispatchB.views)) moved++;
  }
  const only = (these: ReadonlyMap<string, Dispatch>, others: ReadonlyMap<string, Dispatch>) => [...these].filter(([key]) => !others.has(key)).map(([, dispatch]) => ({ label: dispatch.label, ...shown(dispatch) }));
  const arenaBytes = (profile: Profile): number => sum(profile.arenas.map(({ bytes }) => bytes));
  return {
    batch: a.batch,
    dispatches: { a: a.dispatches.length, b: b.dispatches.length },
    flops: { a: a.flops, b: b.flops },
    bytes: { a: a.bytes, b: b.bytes },
    arenaBytes: { a: arenaBytes(a), b: arenaBytes(b) },
    added: only(dispatchesB, dispatchesA),
    removed: only(dispatchesA, dispatchesB),
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

const shown = ({ kernel, workgroups: [x, y, z], flops, bytes }: Dispatch): ComparedDispatch => ({ kernel, workgroups: [x, y, z], flops, bytes });

// ------------------------------------------------------------------------------------------------------ as text

function describe(report: DiffReport): string {
  const { name, kernels, weightBytes, batches, profiles } = report;
  if (report.same) return `${name.a} and ${name.b} have the same plan, ${report.fingerprint.a}`;
  const row = (what: string, { a, b }: { a: number; b: number }, format: (value: number) => string): string[] => [what, format(a), format(b), change(a, b)];
  const totals = table([
    ["", `A ${name.a}`, `B ${name.b}`, "B to A"],
    row("kernels", kernels.count, String),
    row("weights", weightBytes, mebibytes),
    ...profiles.flatMap((profile) => [
      row(`batch ${profile.batch}: dispatches`, profile.dispatches, String),
      row("  work", profile.flops, gigaflops),
      row("  traffic", profile.bytes, mebibytes),
      row("  arenas", profile.arenaBytes, mebibytes),
    ]),
  ]);
  const alone = [["A", batches.onlyA], ["B", batches.onlyB]] as const;
  return [
    totals,
    ...alone.filter(([, sizes]) => sizes.length > 0).map(([side, sizes]) => `only ${side} has batch ${sizes.join(", ")}, which is not compared${profiles.length === 0 ? " (--batch plans specs for the same sizes)" : ""}`),
    ...(kernels.changed.length > 0 ? [`kernels with another text: ${some(kernels.changed)}`] : []),
    ...profiles.map(describeDispatches).filter((text) => text !== ""),
  ].join("\n\n");
}

const change = (a: number, b: number): string => (a === b ? "same" : a === 0 ? "" : `x ${(b / a).toFixed(2)}`);

/** One row for what is the same in many blocks: `blocks.{0-11}.mlp.fc1`. */
function describeDispatches({ batch, added, removed, changed, moved }: ProfileDiff): string {
  const entries = [
    ...removed.map(({ label, kernel }) => ({ sign: "-", label, detail: kernel })),
    ...added.map(({ label, kernel }) => ({ sign: "+", label, detail: kernel })),
    ...changed.map(({ label, a, b }) => ({ sign: "~", label, detail: a.kernel === b.kernel ? `${a.kernel}, workgroups ${a.workgroups.join("x")} -> ${b.workgroups.join("x")}` : `${a.kernel}\n    -> ${b.kernel}` })),
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

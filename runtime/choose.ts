import type { AdapterInfo } from "./device.js";
import type { Choice, Dispatch, Kernel, Launch, Plan, Profile, Routine, Tuned } from "./plan.js";

/** What a dispatch costs besides its arithmetic, in the FLOPs that a mid-range GPU does meanwhile (about 5 microseconds at 2 TFLOP/s). */
const dispatchFlops = 1e7;

/**
 * Which profiles to run, in order, for `count` images: those that cost least together and hold at least as many. The last may be padded.
 * Costs are the plan's FLOPs plus a constant a dispatch.
 */
export function chooseProfiles(profiles: readonly Profile[], count: number): readonly Profile[] {
  const largest = profiles.reduce((a, b) => (b.batch > a.batch ? b : a));
  const chosen: Profile[] = [];
  // Far from the end the largest batch is never worse: it amortises the dispatches over the most images.
  let rest = count;
  while (rest > 2 * largest.batch) {
    chosen.push(largest);
    rest -= largest.batch;
  }
  const cost = (profile: Profile): number => profile.flops + dispatchFlops * profile.dispatches.length;
  const best: { cost: number; profile?: Profile }[] = [{ cost: 0 }];
  for (let n = 1; n <= rest; n++) {
    const options = profiles.map((profile) => ({ cost: cost(profile) + best[Math.max(0, n - profile.batch)]!.cost, profile }));
    best.push(options.reduce((a, b) => (b.cost < a.cost ? b : a)));
  }
  while (rest > 0) {
    const { profile } = best[rest]!;
    chosen.push(profile!);
    rest -= profile!.batch;
  }
  return chosen.sort((a, b) => b.batch - a.batch);
}

/** How a routine is done on a device, and who says so. */
export interface Chosen {
  readonly choice: Choice;
  /** `only`: nothing else runs here. `tuned`: it was measured to be best on this adapter. `cost`: the cost model expects it to be. */
  readonly by: "only" | "tuned" | "cost";
}

/** What choices are made for. */
export interface ChooseOptions {
  readonly adapter: AdapterInfo;
  /** Features of the device. */
  readonly features: ReadonlySet<string>;
  /** Measured tables, which go before the plan's own. For each routine the first counts that fits the adapter and names a choice that can run. */
  readonly tuned?: readonly Tuned[] | undefined;
  /** Ids of kernels that the device was found not to compile. */
  readonly refused?: ReadonlySet<string> | undefined;
}

/** A choice for every routine of a plan: a measured one where there is one for this adapter, else the cheapest by cost. */
export function chooseRoutines(plan: Plan, options: ChooseOptions): ReadonlyMap<string, Chosen> {
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  const target = plan.targets.indexOf(targetOf(options.adapter));
  const key = adapterKey(options.adapter);
  const tables = [...(options.tuned ?? []), ...plan.tuned].filter(({ adapter }) => adapter === key).map(({ choices }) => choices);
  const wanted = ({ id }: Routine): readonly string[] => tables.flatMap((choices) => (Object.hasOwn(choices, id) ? [choices[id]!] : []));
  return new Map(plan.routines.map((routine) => [routine.id, chooseRoutine(routine, { usable: usableChoices(routine, kernels, options), target, wanted: wanted(routine) })]));
}

/** The choices of a routine that a device can run. The first of a routine is one, unless the device refused its kernel. */
export function usableChoices(routine: Routine, kernels: ReadonlyMap<string, Kernel>, options: ChooseOptions): readonly Choice[] {
  return routine.choices.filter(({ launches }) => launches.every(({ kernel }) => runsOn(kernels.get(kernel)!, options)));
}

function chooseRoutine(routine: Routine, { usable, target, wanted }: { readonly usable: readonly Choice[]; readonly target: number; readonly wanted: readonly string[] }): Chosen {
  const first = usable[0] ?? routine.choices[0]!;
  if (usable.length <= 1) return { choice: first, by: "only" };
  // A table may be of another version, or of a device that could do more.
  const measured = wanted.flatMap((name) => usable.filter((choice) => choice.name === name))[0];
  if (measured) return { choice: measured, by: "tuned" };
  const cost = ({ costs }: Choice): number => costs[target] ?? 0;
  return { choice: usable.reduce((a, b) => (cost(b) < cost(a) ? b : a)), by: "cost" };
}

function runsOn({ id, features = [], subgroupSize, matrix }: Kernel, { adapter, features: granted, refused }: ChooseOptions): boolean {
  if (refused?.has(id)) return false;
  if (!features.every((feature) => granted.has(feature))) return false;
  if (subgroupSize !== undefined && adapter.subgroupSize !== subgroupSize) return false;
  return matrix === undefined || (adapter.matrices ?? []).some((shape) => shape.every((size, axis) => size === matrix[axis]));
}

/** The kind of an adapter, in the names of the compiler's targets. */
export function targetOf({ software, subgroupSize, vendor, architecture }: AdapterInfo): string {
  if (software) return subgroupSize === 8 ? "cpu8" : "cpu4";
  // Cores are not told. NVIDIA and AMD build large GPUs first of all, the others build them into processors.
  const large = /nvidia/i.test(vendor) || (/amd/i.test(vendor) && /rdna|cdna/i.test(architecture));
  return large ? "large-gpu" : "gpu";
}

/** Names an adapter in tuning tables: what tells drivers and devices of different speed apart, as far as they tell. */
export const adapterKey = ({ vendor, architecture, device, description }: AdapterInfo): string => [vendor, architecture, device, description].join("|");

/** A launch of a run, with the dispatch that it is of. `last`: it is the one that writes the dispatch's output. */
export interface PlannedLaunch {
  readonly dispatch: Dispatch;
  readonly launch: Launch;
  readonly last: boolean;
}

/** The launches of a run in order. */
export function launchesOf({ dispatches }: Profile, chosen: ReadonlyMap<string, Chosen>): readonly PlannedLaunch[] {
  return dispatches.flatMap((dispatch) => {
    const { launches } = chosen.get(dispatch.routine)!.choice;
    return launches.map((launch, i) => ({ dispatch, launch, last: i === launches.length - 1 }));
  });
}

/** Whether something that was read, or that came from JavaScript, is a table of measured choices. */
export function isTable(value: unknown): value is Tuned {
  if (typeof value !== "object" || value === null || !("adapter" in value) || !("choices" in value)) return false;
  const { adapter, choices } = value;
  return typeof adapter === "string" && typeof choices === "object" && choices !== null && Object.values(choices).every((name) => typeof name === "string");
}

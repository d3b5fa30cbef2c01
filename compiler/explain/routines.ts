import type { Choice, Kernel, Plan, Profile, Routine } from "../../runtime/plan.js";
import type { CompiledPlan } from "../plan/plan.js";
import type { Step } from "../plan/lower.js";
import { targets } from "../target/targets.js";
import { kindOf } from "./kinds.js";
import type { ByTarget, ChoiceReport, KernelReport, RoutineReport } from "./report.js";

/** Every routine of a plan with the ways to do it, and which of them each kind of adapter would take. */
export function reportRoutines({ plan, steps }: CompiledPlan): readonly RoutineReport[] {
  const kernels = kernelsOf(plan);
  const used = new Map<string, { readonly step: Step; dispatches: number }>();
  for (const step of steps.flat()) {
    const known = used.get(step.routine.id) ?? { step, dispatches: 0 };
    used.set(step.routine.id, { ...known, dispatches: known.dispatches + 1 });
  }
  return plan.routines.map((routine): RoutineReport => {
    const { step, dispatches } = used.get(routine.id)!;
    const taken = byTarget(plan, (target) => takenOn(plan, routine, target).name);
    return { id: routine.id, kind: kindOf(step.node), dispatches, choices: routine.choices.map((choice) => reportChoice(plan, choice, kernels)), taken };
  });
}

function reportChoice(plan: Plan, { name, launches, costs }: Choice, kernels: ReadonlyMap<string, Kernel>): ChoiceReport {
  const needs = <Need>(of: (kernel: Kernel) => Need | undefined): Need | null => launches.map(({ kernel }) => of(kernels.get(kernel)!)).find((need) => need !== undefined) ?? null;
  return {
    name,
    launches: launches.map(({ kernel, workgroups }) => ({ kernel, workgroups })),
    costs: byTarget(plan, (target) => costs[plan.targets.indexOf(target)]!),
    features: [...new Set(launches.flatMap(({ kernel }) => kernels.get(kernel)!.features ?? []))],
    subgroupSize: needs(({ subgroupSize }) => subgroupSize),
    matrix: needs(({ matrix }) => matrix),
  };
}

/** What a run is expected to take on each kind of adapter, in microseconds. */
export function expectedCosts(plan: Plan, { dispatches }: Profile): ByTarget<number> {
  const routines = new Map(plan.routines.map((routine) => [routine.id, routine]));
  return byTarget(plan, (target) => dispatches.reduce((sum, { routine }) => sum + takenOn(plan, routines.get(routine)!, target).costs[plan.targets.indexOf(target)]!, 0));
}

/** Every kernel with the routines that it is for, and the kinds of adapter that take it. */
export function reportKernels({ plan, kernels }: CompiledPlan, routines: readonly RoutineReport[]): readonly KernelReport[] {
  return kernels.map((kernel) => {
    const launches = ({ launches }: ChoiceReport): boolean => launches.some((launch) => launch.kernel === kernel.id);
    const users = routines.filter(({ choices }) => choices.some(launches));
    const taken = plan.targets.filter((target) => users.some(({ choices, taken }) => choices.some((choice) => choice.name === taken[target] && launches(choice))));
    return { ...kernel, kind: users[0]!.kind, routines: users.map(({ id }) => id), dispatches: users.reduce((sum, { dispatches }) => sum + dispatches, 0), takenOn: taken };
  });
}

/**
 * What an untuned adapter of a kind takes for a routine, if it has the features that the choice needs: the cheapest that subgroups of its size
 * can run, and of two that cost the same the first, as at load.
 * @param target one of the plan's.
 */
export function takenOn(plan: Plan, { choices }: Routine, target: string): Choice {
  const index = plan.targets.indexOf(target);
  const kernels = kernelsOf(plan);
  // A package of another version may name targets that are not known here: then nothing is known of its subgroups.
  const subgroupSize = targets.find(({ name }) => name === target)?.subgroupSize;
  const runs = choices.filter(({ launches }) => launches.every(({ kernel }) => [undefined, subgroupSize].includes(kernels.get(kernel)!.subgroupSize)));
  const cost = ({ costs }: Choice): number => costs[index] ?? 0;
  return runs.reduce((a, b) => (cost(b) < cost(a) ? b : a), runs[0] ?? choices[0]!);
}

const indexed = new WeakMap<Plan, ReadonlyMap<string, Kernel>>();

/** A plan's kernels by their ids. */
function kernelsOf(plan: Plan): ReadonlyMap<string, Kernel> {
  const known = indexed.get(plan) ?? new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  indexed.set(plan, known);
  return known;
}

const byTarget = <T>({ targets: names }: Plan, value: (target: string) => T): ByTarget<T> => Object.fromEntries(names.map((name) => [name, value(name)]));

/** Ways to do a model's routines that are asked for by name: by tools that measure them, hardly ever by a page. */
import { adapterKey, chooseRoutines, usableChoices, type Chosen } from "./choose.js";
import { adapterName } from "./device.js";
import { VitcError } from "./errors.js";
import type { Engine } from "./load.js";
import type { Plan } from "./plan.js";

/**
 * How an engine does its routines when some are to be done in ways given by name.
 * @throws VitcError (input) for a routine or choice that the plan does not have or that the adapter cannot run
 */
export function chooseBy({ variant: { plan }, opened: { adapter }, chooseOptions }: Engine, choices: Readonly<Record<string, string>>): ReadonlyMap<string, Chosen> {
  const { tuned = [] } = chooseOptions;
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  const chosen = chooseRoutines(plan, { ...chooseOptions, tuned: [{ adapter: adapterKey(adapter), choices }, ...tuned] });
  for (const [id, name] of Object.entries(choices)) {
    const found = chosen.get(id);
    if (found === undefined) throw new VitcError("input", `${plan.name} has no routine ${id}`);
    const usable = plan.routines.filter((routine) => routine.id === id).flatMap((routine) => usableChoices(routine, kernels, chooseOptions).map((choice) => choice.name));
    if (found.choice.name !== name) throw new VitcError("input", `${id} cannot be done by ${name} on ${adapterName(adapter)}: what can be chosen there is ${usable.join(", ")}`);
  }
  return chosen;
}

/**
 * Callers may come from JavaScript.
 * @throws VitcError (input)
 */
export function checkChoices({ name }: Plan, choices: unknown): void {
  if (typeof choices !== "object" || choices === null || !Object.values(choices).every((choice) => typeof choice === "string")) throw new VitcError("input", `${name}: choose takes names of choices by routine, { routine: choice }; {} takes all back`);
}

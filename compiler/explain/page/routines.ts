import { count, plural } from "../format.js";
import { needs } from "../needs.js";
import type { ChoiceReport, Report, RoutineReport } from "../report.js";
import { markup, type Markup } from "./markup.js";

/** Every routine with its choices: what each launches, what it needs, and what it is expected to cost where. */
export function routineList({ routines, targets }: Report): Markup {
  return markup`${routines.map((routine) => item(routine, targets))}`;
}

function item({ id, kind, dispatches, choices, taken }: RoutineReport, targets: readonly string[]): Markup {
  return markup`<details class="kernel routine k-${kind}" id="routine-${id}"><summary><i></i><code>${id}</code><span>${plural(dispatches, "dispatch")} · ${plural(choices.length, "way")}</span></summary>
<div class="scroll" tabindex="0" role="region" aria-label="Ways to do ${id}"><table><caption>Microseconds expected of a dispatch, by kind of adapter</caption><thead><tr><th scope="col">Way</th>${targets.map((target) => markup`<th scope="col" class="number">${target}</th>`)}<th scope="col">Needs</th><th scope="col">Launches</th></tr></thead>
<tbody>${choices.map((choice) => row(choice, targets, taken))}</tbody></table></div></details>`;
}

function row(choice: ChoiceReport, targets: readonly string[], taken: RoutineReport["taken"]): Markup {
  const cost = (target: string): Markup => {
    const text = count(choice.costs[target]!);
    return taken[target] === choice.name ? markup`<td class="number taken"><b title="taken on ${target}">${text} ✓</b></td>` : markup`<td class="number">${text}</td>`;
  };
  return markup`<tr><th scope="row">${choice.name}</th>${targets.map(cost)}<td>${needs(choice) || "nothing special"}</td><td>${choice.launches.map(({ kernel, workgroups }, i) => markup`${i > 0 && ", then "}<a href="#kernel-${kernel}">${kernel}</a> in ${workgroups.join(" × ")}`)}</td></tr>`;
}

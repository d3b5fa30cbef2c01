import { bytes, by, count, flops, percent, plural, short } from "./format.js";
import { needs } from "./needs.js";
import type { PassReport, ProfileReport, Report, RoutineReport } from "./report.js";
import { groupEvents, rowsOf } from "./stages.js";
import { attentionWords, blockWords, mlpWords, normWords, outputWords, poolWords, positionWords, prefixWords, resultWords } from "./words.js";

/** Where the summary breaks lines. */
const columns = 80;

/** A report in lines of at most 80 columns, as many at depth 24 as at depth 3. */
export function summary(report: Report): string {
  const { name, fingerprint } = report;
  return [
    [`${name}  (plan ${fingerprint})`],
    facts(modelFacts(report)),
    facts(planFacts(report)),
    [...heading("dispatches", "FLOPs", "bytes"), ...kindRows(report.profiles[0]!)],
    takenRows(report),
    ["passes", ...report.passes.filter(({ events }) => events.length > 0).map(passRow), ...declinedRows(report.passes)],
  ]
    .map((lines) => lines.join("\n"))
    .join("\n\n");
}

/** Every pass with what it did, where and why. */
export function passesText(passes: readonly PassReport[]): string {
  return passes
    .map(({ name, why, nodesBefore, nodesAfter, events }) => {
      const lines = groupEvents(events).flatMap(({ node, fired, reason, count: times }) => wrap(`${fired ? "fired" : "declined"} at ${node}${times > 1 ? ` (${times} times)` : ""}: ${reason}`, "  ", "    "));
      const idle = nodesBefore === nodesAfter ? ["  nothing to do"] : [];
      return [`${name}: ${count(nodesBefore)} -> ${plural(nodesAfter, "node")}`, ...wrap(why, "  ", "  "), ...(lines.length > 0 ? lines : idle)].join("\n");
    })
    .join("\n\n");
}

/** Every routine with all its ways: what each is expected to take on each kind of adapter, and what it needs. */
export function routinesText({ routines, targets, profiles }: Report): string {
  const used = new Map(profiles.flatMap((profile) => rowsOf(profile).map(({ dispatch, label }) => [dispatch.routine, `${label}${profiles.length > 1 ? `, batch ${profile.batch}` : ""}`] as const)).reverse());
  return routines
    .map(({ id, dispatches, choices, taken }) => {
      const width = Math.max(...choices.map(({ name }) => name.length));
      const cost = (text: string) => text.padStart(11);
      const rows = choices.flatMap((choice) => [
        `  ${choice.name.padEnd(width)}${targets.map((target) => cost(`${micro(choice.costs[target]!)}${taken[target] === choice.name ? " *" : "  "}`)).join("")}`.trimEnd(),
        ...(needs(choice) === "" ? [] : wrap(`needs ${needs(choice)}`, "    ", "    ")),
        ...(choice.launches.length > 1 ? wrap(`launches ${choice.launches.map(({ kernel }) => kernel).join(", then ")}`, "    ", "    ") : []),
      ]);
      return [...wrap(`${id}: ${plural(dispatches, "dispatch")}, as ${used.get(id)!}`, "", "  "), `  ${"microseconds".padEnd(width)}${targets.map((target) => cost(`${target}  `)).join("")}`.trimEnd(), ...rows].join("\n");
    })
    .join("\n\n");
}

type Fact = readonly [name: string, text: string];

const facts = (rows: readonly Fact[]): string[] => rows.flatMap(([name, text]) => wrap(text, `  ${name.padEnd(12)}`, " ".repeat(14)));

function modelFacts({ spec, parameters, weights }: Report): Fact[] {
  const { channels, image, patch, geometry, dim, depth, heads, headDim, mlp, representation, stem } = spec;
  const tokens = [...prefixWords(spec), plural(geometry.patches, "patch")];
  const listed = (name: string, words: readonly string[]): Fact[] => (words.length > 0 ? [[name, words.join(", ")]] : []);
  const layer = representation > 0 ? `, tanh layer of ${count(representation)}` : "";
  return [
    ["image", by([channels, ...image])],
    ...(stem.length > 0 ? [["stem", `${plural(stem.length, "convolution")} to ${by(geometry.map)}`] as const] : []),
    ["patches", `${by(patch)} each, ${by(geometry.grid)} = ${count(geometry.patches)}`],
    ["tokens", `${tokens.join(" + ")} = ${count(geometry.tokens)} of width ${count(dim)}, ${positionWords(spec).join(", ")}`],
    ["blocks", `${count(depth)}: attention of ${plural(heads, "head")} x ${headDim}, MLP of ${count(mlp.hidden)} (${mlp.activation})`],
    ...listed("", blockWords(spec)),
    ...listed("attention", attentionWords(spec)),
    ...listed("MLP", mlpWords(spec)),
    ...listed("norms", normWords(spec)),
    ["head", `${poolWords(spec)}${layer}, ${resultWords(spec)}`],
    ...listed("outputs", outputWords(spec)),
    ["weights", `${count(parameters)} parameters, ${bytes(weights.bytes)} in ${plural(weights.tensors.length, "packed tensor")}`],
  ];
}

function planFacts({ dtype, graph, profiles, routines, kernels, needs, limits }: Report): Fact[] {
  const beyond = limits.filter(({ needed, guaranteed }) => needed > guaranteed);
  return [
    ["graph", `${plural(graph.built.nodes, "node")}, ${count(graph.lowered.nodes)} after all passes`],
    ["kernels", `${count(kernels.length)} for ${plural(routines.length, "routine")}, matrices in ${dtype}; an adapter takes one way of each`],
    ...profiles.map((profile): Fact => [`batch ${profile.batch}`, profileText(profile)]),
    ...profiles.map((profile): Fact => ["expected", `${Object.entries(profile.expected).map(([target, time]) => `${duration(time)} on ${target}`).join(", ")}${profiles.length > 1 ? ` at batch ${profile.batch}` : ""}`]),
    ["needs", [`${bytes(needs.gpuBytes)} of GPU memory`, ...needs.features].join(", ")],
    ["download", `${bytes(needs.downloadBytes.packed)} packed, ${bytes(needs.downloadBytes.safetensors)} as safetensors in ${dtype}`],
    ...beyond.map(({ name, needed }): Fact => ["needs", `${name} of ${count(needed)}`]),
  ];
}

function profileText({ dispatches, flops: work, bytes: moved, arenas }: ProfileReport): string {
  const activations = arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  return `${plural(dispatches.length, "dispatch")}, ${flops(work)}, ${bytes(moved)} moved (${(work / moved).toFixed(0)} FLOP/byte), activations ${bytes(activations)} in ${plural(arenas.length, "arena")}`;
}

const heading = (...[first, ...rest]: readonly [string, ...string[]]): string[] => [`${first.padEnd(20)}${rest.map((name) => name.padStart(18)).join("")}`];

function kindRows({ byKind, flops: allFlops, bytes: allBytes }: ProfileReport): string[] {
  const share = (text: string, part: number) => `${text.padStart(10)} ${percent(part).padStart(7)}`;
  return [...byKind].sort((a, b) => b.flops - a.flops).map((kind) => `  ${String(kind.dispatches).padStart(4)} ${kind.kind.padEnd(13)}${share(short(kind.flops), kind.flops / allFlops)}${share(bytes(kind.bytes), kind.bytes / allBytes)}`);
}

/** The routines of the first batch size, and the way that each kind of adapter takes for them. */
function takenRows({ profiles, routines, targets }: Report): string[] {
  const known = new Map(routines.map((routine) => [routine.id, routine]));
  const seen = new Set<string>();
  const rows = rowsOf(profiles[0]!).filter(({ dispatch: { routine } }) => !seen.has(routine) && seen.add(routine));
  return ["ways to do it, and microseconds expected, by the kinds of adapter that take them", ...rows.flatMap(({ dispatch: { routine }, label }) => [`  ${label}${known.get(routine)!.choices.length > 1 ? "" : ": one way"}`, ...wayRows(known.get(routine)!, targets)])];
}

function wayRows({ choices, taken }: RoutineReport, targets: readonly string[]): string[] {
  const takers = ({ name }: RoutineReport["choices"][number]): readonly string[] => targets.filter((target) => taken[target] === name);
  return choices
    .filter((choice) => takers(choice).length > 0)
    .flatMap((choice) => wrap(takers(choice).map((target) => `${target} ${micro(choice.costs[target]!)}`).join(", "), `    ${choice.name.padEnd(31)} `, " ".repeat(36)));
}

const micro = (microseconds: number): string => (microseconds >= 1000 ? count(Math.round(microseconds)) : String(microseconds));

const duration = (microseconds: number): string => (microseconds >= 1000 ? `${(microseconds / 1000).toPrecision(3)} ms` : `${microseconds.toPrecision(3)} us`);

function passRow({ name, fired, declined, nodesBefore, nodesAfter }: PassReport): string {
  const did = [...(fired > 0 ? [`fired ${count(fired)}`] : []), ...(declined > 0 ? [`declined ${count(declined)}`] : [])].join(", ");
  return `  ${name.padEnd(18)} ${did.padEnd(23)} ${`${count(nodesBefore)} -> ${plural(nodesAfter, "node")}`.padStart(20)}`;
}

function declinedRows(passes: readonly PassReport[]): string[] {
  return passes.flatMap(({ name, events }) => groupEvents(events.filter((event) => !event.fired)).flatMap(({ node, reason }) => wrap(`${name} declined ${node}: ${reason}`, "  ", "    ")));
}

/** Lines of at most 80 columns; a word that is longer than a line stands alone. */
function wrap(text: string, first: string, rest: string): string[] {
  const lines: string[] = [];
  let line = first;
  for (const word of text.split(" ")) {
    const empty = line === (lines.length === 0 ? first : rest);
    if (!empty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = rest + word;
    } else line += (empty ? "" : " ") + word;
  }
  return [...lines, line];
}

import type { Arena } from "../../runtime/plan.js";
import type { Value } from "../ir/graph.js";
import type { Operand, Step } from "./lower.js";
import { align } from "./pack.js";
import { bytesOfValue, type Storage } from "./precision.js";

/** Where an activation lies. */
export interface Placement {
  readonly arena: string;
  readonly offset: number;
  readonly bytes: number;
}

/** A piece of memory: one value, or a chain of values that are updated in place. `first` and `last` are steps, inclusive. */
interface Slot {
  readonly bytes: number;
  readonly first: number;
  last: number;
  /** Slots that some dispatch binds together with this one, one of them for writing. */
  readonly conflicts: Set<Slot>;
  arena?: number;
  offset?: number;
}

export interface Memory {
  readonly arenas: readonly Arena[];
  /** Where an activation lies, or the scratch memory of a step; undefined for what is no activation. */
  placement(operand: Operand): Placement | undefined;
}

/** An arena grows no further than the default limit of a buffer; a value that is larger has one of its own. */
const arenaBytes = 256 * 2 ** 20;

/**
 * Places the activations of a run in as few and as small buffers as it can.
 *
 * WebGPU forbids binding one buffer for reading and for writing in the same dispatch, even disjoint ranges of it. So this is colouring
 * first (a step's output and its inputs lie in different arenas, unless the output is one of them updated in place), then packing by
 * lifetime inside each arena. Slots are placed in the order of the computation, each where the arena grows least.
 */
export function placeActivations(steps: readonly Step[], outputs: ReadonlySet<Value>, storage: Storage): Memory {
  const { slots, scratch } = collectSlots(steps, outputs, storage);
  const arenas: { bytes: number; slots: Slot[] }[] = [];
  const inOrder = [...new Set(slots.values()), ...scratch.values()].sort((a, b) => a.first - b.first);
  for (const slot of inOrder) {
    const taken = new Set([...slot.conflicts].map((other) => other.arena));
    for (const arena of arenas) arena.slots = arena.slots.filter((other) => other.last >= slot.first);
    const candidates = arenas.map((arena, i) => ({ i, offset: lowestGap(arena.slots, slot), arena })).filter(({ i, offset, arena }) => !taken.has(i) && (offset + slot.bytes <= arenaBytes || offset + slot.bytes <= arena.bytes));
    const growth = (c: (typeof candidates)[number]) => Math.max(0, c.offset + slot.bytes - c.arena.bytes);
    const best = candidates.sort((a, b) => growth(a) - growth(b) || a.arena.bytes - b.arena.bytes)[0];
    // A new arena costs the slot's bytes; an old one that would grow as much saves nothing and ties its future to this slot.
    if (best && growth(best) < slot.bytes) {
      [slot.arena, slot.offset] = [best.i, best.offset];
      best.arena.slots.push(slot);
      best.arena.bytes = Math.max(best.arena.bytes, best.offset + slot.bytes);
    } else {
      [slot.arena, slot.offset] = [arenas.length, 0];
      arenas.push({ bytes: slot.bytes, slots: [slot] });
    }
  }
  return {
    arenas: arenas.map(({ bytes }, i) => ({ name: `arena.${i}`, bytes: align(bytes) })),
    placement(operand) {
      const slot = "value" in operand ? slots.get(operand.value) : scratch.get(operand);
      const bytes = "value" in operand ? bytesOfValue(operand.value, storage) : "scratch" in operand ? operand.scratch : 0;
      return slot && { arena: `arena.${slot.arena}`, offset: slot.offset!, bytes };
    },
  };
}

function collectSlots(steps: readonly Step[], outputs: ReadonlySet<Value>, storage: Storage) {
  const slots = new Map<Value, Slot>();
  const scratch = new Map<Operand, Slot>();
  steps.forEach((step, i) => {
    const inputs = step.operands.flatMap((operand) => ("value" in operand && operand.value !== step.output ? (slots.get(operand.value) ?? []) : []));
    const newSlot = (bytes: number): Slot => ({ bytes, first: i, last: i, conflicts: new Set() });
    // A product that is split by columns writes one value in several steps.
    const slot = slots.get(step.output) ?? (step.inPlace && slots.get(step.inPlace)) ?? newSlot(bytesOfValue(step.output, storage));
    slots.set(step.output, slot);
    const conflict = (a: Slot, b: Slot): void => {
      a.conflicts.add(b);
      b.conflicts.add(a);
    };
    for (const input of inputs) {
      conflict(input, slot);
      input.last = Math.max(input.last, i);
    }
    for (const operand of step.operands) {
      if (!("scratch" in operand)) continue;
      const space = newSlot(operand.scratch);
      for (const other of [...inputs, slot]) conflict(space, other);
      scratch.set(operand, space);
    }
    slot.last = Math.max(slot.last, outputs.has(step.output) ? steps.length : i);
  });
  return { slots, scratch };
}

/** The lowest offset where a slot overlaps none of those that live when it starts. */
function lowestGap(placed: readonly Slot[], slot: Slot): number {
  // Slots come in the order of the computation, and those that ended before this one starts are gone: all placed ones are alive.
  const alive = placed.toSorted((a, b) => a.offset! - b.offset!);
  let offset = 0;
  for (const other of alive) {
    if (offset + slot.bytes <= other.offset!) break;
    offset = Math.max(offset, align(other.offset! + other.bytes));
  }
  return offset;
}

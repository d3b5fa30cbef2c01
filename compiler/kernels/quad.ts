import type { KernelNeeds } from "./kernel.js";
import { raw, type Wgsl } from "./wgsl.js";

/**
 * Four neighbours of a subgroup give values round without memory (WGSL's quad operations). What one of them reads serves all four, which on
 * adapters that run on a CPU, where each load is a gather of its own, is worth most of the loads.
 *
 * Slot s of member l is what belongs to member l ^ s: each value of a member reaches the others by one swap, and no index is dynamic.
 */
export const quad = 4;

export const quadNeeds: KernelNeeds = { enables: ["subgroups"], features: ["subgroups"] };

/** The index in the quad; neighbours in a quad are those whose numbers in the subgroup differ in the last two bits. */
export const quadMember: Wgsl = raw("let member = subgroup_member & 3u;");
export const quadBuiltin = "@builtin(subgroup_invocation_id) subgroup_member: u32";

/** The expression's value in member l ^ slot, for member l. */
export const swap = (slot: number, expression: string): string => [expression, `quadSwapX(${expression})`, `quadSwapY(${expression})`, `quadSwapDiagonal(${expression})`][slot]!;

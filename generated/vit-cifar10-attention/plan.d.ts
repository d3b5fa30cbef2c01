import type { Plan } from "vitc/runtime/codegen";
/** The kernel plan in f32: a row a dispatch, views are [buffer, byte offset, bytes]. */
export declare const plan: Plan;

import type { SelfTest } from "vitc/runtime/codegen";
/** What some elements of each kernel's result are in f64, by variant. */
export declare const selfTests: readonly (readonly SelfTest[])[];

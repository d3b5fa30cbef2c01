import type { DType } from "../../runtime/plan.js";
import { elementType, type Binding } from "./kernel.js";
import { raw, type Wgsl } from "./wgsl.js";

/** How a kernel's input and output are stored. Arithmetic is f32 in any case. */
export interface InOut {
  readonly in: DType;
  readonly out: DType;
}

export const inFull: InOut = { in: "f32", out: "f32" };

/** What an id says of storage: nothing where all is f32. */
export const dtypesId = (...dtypes: readonly DType[]): string => (dtypes.includes("f16") ? `_${dtypes.join("_")}` : "");

type Stored = Pick<Binding, "element" | "dtype">;

/** An element of a binding, as f32. */
export const asFull = (text: string, { element, dtype }: Stored): Wgsl => raw(dtype === "f16" ? `${elementType({ element })}(${text})` : text);

/** A value as a binding stores it. Beyond f16's range a conversion may give anything; what is stored so stays finite. */
export function asStored(text: string, { element, dtype = "f32" }: Stored): Wgsl {
  if (dtype === "f32") return raw(text);
  const full = elementType({ element });
  return raw(`${elementType({ element, dtype })}(clamp(${text}, ${full}(-65504.0), ${full}(65504.0)))`);
}

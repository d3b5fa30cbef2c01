import type { SelfTestReport } from "./self-test.js";

/** What went wrong, for a program. Messages are for a person: they name the field, the value, what is allowed and the nearest fix. */
export type VitcErrorCode =
  | "abi"
  | "adapter"
  | "device-lost"
  | "disposed"
  | "input"
  | "limits"
  | "out-of-memory"
  | "self-test"
  | "validation"
  | "weights";

/** Every error the runtime throws on purpose. */
export class VitcError extends Error {
  override readonly name: string = "VitcError";
  constructor(
    readonly code: VitcErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The generated code and the runtime were made by versions that do not fit. */
export class AbiError extends VitcError {
  override readonly name = "AbiError";
  constructor(message: string) {
    super("abi", message);
  }
}

/** No usable GPU adapter, or the adapter lacks what the plan needs. */
export class AdapterError extends VitcError {
  override readonly name = "AdapterError";
  constructor(message: string, options?: { cause?: unknown }) {
    super("adapter", message, options);
  }
}

/** An image or tensor given to `run` does not fit the model. */
export class InputError extends VitcError {
  override readonly name = "InputError";
  constructor(message: string, options?: { cause?: unknown }) {
    super("input", message, options);
  }
}

/** The device refused kernels: its driver cannot compile them, whatever it says it can do. */
export class KernelError extends VitcError {
  override readonly name = "KernelError";
  /** @param refused what the device said, by the kernel's id; not empty */
  constructor(refused: ReadonlyMap<string, string>) {
    const [[id, reason] = ["", ""]] = refused;
    super("validation", `The device refused ${refused.size > 1 ? `${refused.size} kernels, first ` : "kernel "}${id}: ${reason}`);
    this.kernels = [...refused.keys()];
  }
  /** Ids of the kernels. */
  readonly kernels: readonly string[];
}

/** Kernels compute something else on this device than they should, in every way and every dtype that there is. */
export class SelfTestError extends VitcError {
  override readonly name = "SelfTestError";
  /** @param report of the last dtype that was tried */
  constructor(message: string, readonly report: SelfTestReport) {
    super("self-test", message);
  }
}

/** One thing wrong with a weight file. */
export interface WeightProblem {
  /** `range`: a value that the dtype of the plan cannot hold, though f32 can. `changed`: the file was replaced while it was read; loading it again may work. `integrity`: it is not the file whose hash was given. */
  readonly kind: "missing" | "shape" | "dtype" | "extra" | "value" | "range" | "format" | "changed" | "integrity";
  /** The tensor, or undefined for the file as a whole. */
  readonly tensor?: string;
  readonly message: string;
}

/** More problems of a kind than this are counted in the message instead of listed. */
const listedProblems = 20;

/** A weight file that cannot be used. `problems` holds everything that is wrong with it; the message lists the first of each kind. */
export class WeightsError extends VitcError {
  override readonly name = "WeightsError";
  constructor(readonly problems: readonly WeightProblem[], source: string, options?: { cause?: unknown }) {
    const kinds = [...new Set(problems.map(({ kind }) => kind))].map((kind) => problems.filter((problem) => problem.kind === kind));
    const listed = kinds.flatMap((of) => of.slice(0, listedProblems).map((problem) => `  - ${problem.message}`));
    const rest = problems.length > listed.length ? [`  and ${problems.length - listed.length} more, ${problems.length} in all`] : [];
    super("weights", `${source}: ${problems.length === 1 ? problems[0]!.message : [`${problems.length} problems`, ...listed, ...rest].join("\n")}`, options);
  }
}

/** The GPU device went away while the model was in use, and could not be replaced. */
export class DeviceLostError extends VitcError {
  override readonly name = "DeviceLostError";
  constructor(message: string, options?: { cause?: unknown }) {
    super("device-lost", message, options);
  }
}

/** The GPU could not allocate what the plan needs. `bytes` is what was asked for. */
export class OutOfMemoryError extends VitcError {
  override readonly name = "OutOfMemoryError";
  constructor(message: string, readonly bytes: number) {
    super("out-of-memory", message);
  }
}

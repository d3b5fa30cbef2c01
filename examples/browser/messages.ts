/** What the page and the worker of a model say to each other: typed calls, each with an answer, and news of how far one has come. */
import type { Prediction, Progress, RunProfile } from "vitc/runtime";

/** Where a package comes from. */
export type PackageSource = BuiltIn | Chosen;

/** One of the packages that were built with the page. */
export interface BuiltIn {
  readonly kind: "built-in";
  readonly name: string;
}

/** A folder of the user's, whose modules the service worker serves at `address`. */
export interface Chosen {
  readonly kind: "chosen";
  readonly name: string;
  readonly address: string;
  /** The weight file first, then the files that may lie beside it. */
  readonly weights: readonly File[];
}

export interface LoadRequest {
  readonly source: PackageSource;
  readonly dtype: "auto" | "f32" | "f16";
}

/** What the page tells of a model once it is loaded. */
export interface LoadedModel {
  readonly name: string;
  readonly adapterName: string;
  readonly dtype: string;
  readonly gpuBytes: number;
  readonly milliseconds: number;
  /** How many classes it scores; 0 if it has none. */
  readonly classes: number;
  /** Their names; empty if they have none. */
  readonly labels: readonly string[];
  /** The blocks that it has attention maps of, in their order. */
  readonly maps: readonly AttentionMap[];
  readonly profile: RunProfile | undefined;
}

export interface AttentionMap {
  /** `blocks.3.attn`. */
  readonly output: string;
  readonly block: number;
  readonly heads: number;
}

export interface Predicted {
  /** The most probable classes, or none if the model has no classes. */
  readonly top: readonly Prediction<string | undefined>[];
  /** From the image file to outputs in memory. */
  readonly milliseconds: number;
  /** The photograph's part that the model sees, in shares of its width and height; padding reaches beyond 0 and 1. */
  readonly area: Area;
  readonly grid: Grid | undefined;
}

export interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Patches down and across. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** Which attention is drawn: rollout over all blocks, or one block's, of one head or the mean of all. `patch`: of which patch; without it of the class token, or of all patches. */
export interface AttentionView {
  readonly of: "nothing" | "rollout" | { readonly block: number; readonly head: number | "mean" };
  readonly patch: number | undefined;
}

/** What is drawn, in numbers. */
export interface AttentionSeen {
  /** Shares of 1 by patch; empty if nothing is drawn. */
  readonly weights: Float32Array;
  /** What goes to tokens that are no patches. */
  readonly elsewhere: number;
  /** Whose attention it is: a patch's, or else the class token's, or, in models without one, that of all patches on average. */
  readonly whose: "patch" | "class token" | "all patches";
}

/** Sides of an overlay, in device pixels. */
export interface OverlaySize {
  readonly width: number;
  readonly height: number;
}

/** What the page may ask for: arguments and answers, by name. */
export interface Calls {
  load(request: LoadRequest): LoadedModel;
  /** Runs a photograph, and keeps its attention for `show`. */
  predict(request: { readonly photograph: Blob; readonly width: number; readonly height: number }): Predicted;
  /** The probabilities of all classes, for each photograph. */
  probabilities(request: { readonly photographs: readonly Blob[] }): readonly Float32Array[];
  /** Takes a canvas, which overlays are drawn on from then on. */
  canvas(request: { readonly canvas: OffscreenCanvas }): void;
  show(request: AttentionView & { readonly size: OverlaySize }): AttentionSeen;
  /** Times one run on values in memory; returns milliseconds. */
  time(request: Record<never, never>): number;
  profile(request: { readonly runs: number }): RunProfile;
  /** Destroys the GPU device, as a driver's reset would. */
  lose(request: Record<never, never>): void;
}

export type CallName = keyof Calls;
export type Request<Name extends CallName> = Parameters<Calls[Name]>[0];
export type Answer<Name extends CallName> = ReturnType<Calls[Name]>;

export type ToWorker = { [Name in CallName]: { readonly id: number; readonly call: Name; readonly request: Request<Name> } }[CallName] | { readonly id: number; readonly call: "abort" };

export type FromWorker =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: { readonly name: string; readonly message: string } }
  | { readonly id: number; readonly progress: Progress }
  /** What a user should know, whatever was asked. */
  | { readonly notice: string };

/** A photograph for the worker, or the canvas that it draws on. */
export type ToWorker = { readonly canvas: OffscreenCanvas } | { readonly photograph: ImageBitmap };

/** One line for people; `busy` if the next comes at once, `ready` when photographs may come. */
export interface FromWorker {
  readonly status: string;
  readonly busy?: boolean;
  readonly ready?: boolean;
}

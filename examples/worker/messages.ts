/** A photograph for the worker, or the canvas that it draws on. */
export type ToWorker = { readonly canvas: OffscreenCanvas } | { readonly photograph: ImageBitmap };

/** One line for people; with `ready` photographs may come. */
export interface FromWorker {
  readonly status: string;
  readonly ready?: boolean;
}

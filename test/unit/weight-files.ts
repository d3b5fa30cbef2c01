/** Builds safetensors files for tests, right ones and wrong ones. */

import { WeightsError } from "../../runtime/errors.js";

export interface MadeTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** 8 bytes of length, the header as given, the data: nothing is checked. */
export function rawFile(header: string | Uint8Array, data: Uint8Array = new Uint8Array(0), claimed?: number): Uint8Array<ArrayBuffer> {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(claimed ?? text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

/** A file of well-formed tensors, in the given order. `padding` spaces after the header shift the data's alignment. */
export function makeFile(tensors: Readonly<Record<string, MadeTensor>> | ReadonlyMap<string, MadeTensor>, padding = 0): Uint8Array<ArrayBuffer> {
  const entries: string[] = [];
  const parts: Uint8Array[] = [];
  let offset = 0;
  const named: Iterable<readonly [string, MadeTensor]> = tensors instanceof Map ? tensors : Object.entries(tensors);
  for (const [name, { dtype, shape, bytes }] of named) {
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, offset + bytes.length] })}`);
    parts.push(bytes);
    offset += bytes.length;
  }
  return rawFile(`{${entries.join(",")}}${" ".repeat(padding)}`, Buffer.concat(parts));
}

export function f32(shape: readonly number[], values: readonly number[] | Float32Array): MadeTensor {
  return { dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

export function f64(shape: readonly number[], values: readonly number[]): MadeTensor {
  return { dtype: "F64", shape, bytes: new Uint8Array(Float64Array.from(values).buffer) };
}

/** 16-bit words as they stand in the file. */
export function words(dtype: string, shape: readonly number[], values: readonly number[]): MadeTensor {
  return { dtype, shape, bytes: new Uint8Array(Uint16Array.from(values).buffer) };
}

/** 0, 1, 2, ... */
export function count(length: number, from = 0): number[] {
  return Array.from({ length }, (_, i) => from + i);
}

/** What a promise rejects with; a promise that does not reject is a failure of the test. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a rejection, got ${JSON.stringify(value)?.slice(0, 200)}`);
}

/** The WeightsError that a promise rejects with. */
export async function refusal(promise: Promise<unknown>): Promise<WeightsError> {
  const error = await rejection(promise);
  if (error instanceof WeightsError) return error;
  throw new Error("expected a WeightsError", { cause: error });
}

/** An ONNX model as plain data: what `translate.ts` makes of a graph and `encode.ts` turns into bytes. */

/** Of the default operator set: 20 is the first with Gelu. */
export const opsetVersion = 20;
/** Of the file format: 9 came with opset 20, so whatever reads one reads the other. */
export const irVersion = 9;

/** An attribute of a node. ONNX tells whole numbers from real ones, which a JavaScript number does not. */
export type Attribute =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: string };

export interface OnnxNode {
  /** Unique; the graph's name of the node, with what was added behind a slash where one node became several. */
  readonly name: string;
  readonly op: string;
  /** Names of values: inputs, initializers and outputs of earlier nodes. */
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A constant tensor. Without `data` it is a parameter, whose f32 values come from a weight file while the model is written. */
export interface Initializer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data?: Float32Array | BigInt64Array;
}

/** An input or output. A string is the name of an axis whose size is chosen when the model is run. */
export interface OnnxValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

export interface OnnxModel {
  readonly name: string;
  readonly producerVersion: string;
  readonly doc: string;
  /** What else a user of the file should know, as text by name. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly Initializer[];
}

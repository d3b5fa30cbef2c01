/** Reads ONNX files with none of the code under test, and tells what is wrong with them. Field numbers are those of onnx.proto3. */

/** Fields of a message by their numbers, each in the order of the file. */
class Message {
  private readonly fields = new Map<number, (Uint8Array | number)[]>();

  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    const varint = (): number => {
      let [value, factor] = [0, 1];
      for (;;) {
        if (at >= bytes.length) throw new Error("the message ends inside a number");
        const byte = bytes[at++]!;
        value += (byte & 127) * factor;
        if (byte < 128) return value;
        factor *= 128;
      }
    };
    while (at < bytes.length) {
      const tag = varint();
      const [field, type] = [Math.floor(tag / 8), tag % 8];
      let value: Uint8Array | number;
      if (type === 0) value = varint();
      else if (type === 5) {
        value = view.getFloat32(at, true);
        at += 4;
      } else if (type === 2) {
        const length = varint();
        if (at + length > bytes.length) throw new Error(`field ${field} takes ${length} bytes, ${bytes.length - at} are left`);
        value = bytes.subarray(at, at + length);
        at += length;
      } else throw new Error(`field ${field} has wire type ${type}, which ONNX does not use here`);
      this.fields.set(field, [...(this.fields.get(field) ?? []), value]);
    }
  }

  numbers = (field: number): number[] => (this.fields.get(field) ?? []).map((value) => (typeof value === "number" ? value : fail(`field ${field} is no number`)));
  bytes = (field: number): Uint8Array[] => (this.fields.get(field) ?? []).map((value) => (typeof value === "number" ? fail(`field ${field} is a number`) : value));
  texts = (field: number): string[] => this.bytes(field).map((bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  messages = (field: number): Message[] => this.bytes(field).map((bytes) => new Message(bytes));
  number = (field: number): number | undefined => only(this.numbers(field));
  text = (field: number): string | undefined => only(this.texts(field));
  message = (field: number): Message => only(this.messages(field)) ?? fail(`there is no field ${field}`);
}

function fail(message: string): never {
  throw new Error(message);
}

const only = <T>(values: readonly T[]): T | undefined => (values.length > 1 ? fail("a field that occurs once occurs several times") : values[0]);

export type ReadAttribute = number | string | readonly number[];

export interface ReadNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, ReadAttribute>;
}

export interface ReadTensor {
  readonly name: string;
  readonly type: "float" | "int64";
  readonly shape: readonly number[];
  /** The bytes in the file, or where they are. */
  readonly raw?: Uint8Array;
  readonly external?: { readonly location: string; readonly offset: number; readonly length: number };
}

export interface ReadValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

export interface ReadModel {
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly producer: string;
  readonly producerVersion: string;
  readonly doc: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly name: string;
  readonly inputs: readonly ReadValue[];
  readonly outputs: readonly ReadValue[];
  readonly nodes: readonly ReadNode[];
  readonly initializers: readonly ReadTensor[];
}

const dataTypes: Readonly<Record<number, ReadTensor["type"]>> = { 1: "float", 7: "int64" };
const elementBytes = { float: 4, int64: 8 } as const;

/** @throws Error for bytes that are no ModelProto, or one with what vitc never writes. */
export function readOnnx(bytes: Uint8Array): ReadModel {
  const model = new Message(bytes);
  const graph = model.message(7);
  return {
    irVersion: model.number(1) ?? 0,
    opsets: new Map(model.messages(8).map((opset) => [opset.text(1) ?? "", opset.number(2) ?? 0])),
    producer: model.text(2) ?? "",
    producerVersion: model.text(3) ?? "",
    doc: model.text(6) ?? "",
    metadata: readEntries(model.messages(14)),
    name: graph.text(2) ?? "",
    nodes: graph.messages(1).map(readNode),
    initializers: graph.messages(5).map(readTensor),
    inputs: graph.messages(11).map(readValue),
    outputs: graph.messages(12).map(readValue),
  };
}

const readEntries = (entries: readonly Message[]): Map<string, string> => new Map(entries.map((entry) => [entry.text(1) ?? "", entry.text(2) ?? ""]));

const readNode = (node: Message): ReadNode => ({
  inputs: node.texts(1),
  outputs: node.texts(2),
  name: node.text(3) ?? "",
  op: node.text(4) ?? "",
  attributes: new Map(node.messages(5).map((attribute) => [attribute.text(1) ?? "", readAttribute(attribute)])),
});

function readAttribute(attribute: Message): ReadAttribute {
  const type = attribute.number(20);
  if (type === 1) return attribute.number(2)!;
  if (type === 2) return attribute.number(3)!;
  if (type === 3) return attribute.text(4)!;
  return type === 7 ? attribute.numbers(8) : fail(`an attribute has type ${type}`);
}

function readTensor(tensor: Message): ReadTensor {
  const type = dataTypes[tensor.number(2) ?? 0] ?? fail(`a tensor has type ${tensor.number(2)}`);
  const raw = only(tensor.bytes(9));
  const external = readEntries(tensor.messages(13));
  return {
    name: tensor.text(8) ?? "",
    type,
    shape: tensor.numbers(1),
    ...(raw && { raw }),
    ...(tensor.number(14) === 1 && { external: { location: external.get("location") ?? "", offset: Number(external.get("offset")), length: Number(external.get("length")) } }),
  };
}

function readValue(value: Message): ReadValue {
  const tensor = value.message(2).message(1);
  if (tensor.number(1) !== 1) fail("an input or output is not f32");
  return { name: value.text(1) ?? "", shape: tensor.message(2).messages(1).map((size) => size.text(2) ?? size.number(1) ?? fail("an axis has no size")) };
}

/** The operators of opset 20 that vitc writes: how many inputs they take, and their attributes. */
const operators: Readonly<Record<string, readonly [fewest: number, most: number, attributes?: Readonly<Record<string, "number" | "string" | "list">>]>> = {
  Add: [2, 2],
  BatchNormalization: [5, 5, { epsilon: "number" }],
  Concat: [1, Infinity, { axis: "number" }],
  Conv: [2, 3, { kernel_shape: "list", pads: "list", strides: "list" }],
  Cos: [1, 1],
  Div: [2, 2],
  Exp: [1, 1],
  Expand: [2, 2],
  Gather: [2, 2, { axis: "number" }],
  Gelu: [1, 1, { approximate: "string" }],
  Gemm: [2, 3, { transB: "number" }],
  Identity: [1, 1],
  LayerNormalization: [2, 3, { axis: "number", epsilon: "number" }],
  MatMul: [2, 2],
  Max: [1, Infinity],
  Mul: [2, 2],
  ReduceL2: [1, 2, { keepdims: "number" }],
  ReduceMax: [1, 2, { keepdims: "number" }],
  ReduceMean: [1, 2, { keepdims: "number" }],
  ReduceSum: [1, 2, { keepdims: "number" }],
  Relu: [1, 1],
  Reshape: [2, 2],
  Shape: [1, 1, { start: "number", end: "number" }],
  Sigmoid: [1, 1],
  Sin: [1, 1],
  Slice: [3, 5],
  Softmax: [1, 1, { axis: "number" }],
  Sqrt: [1, 1],
  Sub: [2, 2],
  Tanh: [1, 1],
  Transpose: [1, 1, { perm: "list" }],
};

/** What ONNX's checker would find: values used before they are defined, names given twice, unknown operators, tensors of the wrong size. */
export function problems(model: ReadModel): string[] {
  const found: string[] = [];
  if (model.irVersion < 9 || model.opsets.get("") !== 20 || model.opsets.size !== 1) found.push(`IR ${model.irVersion} with opsets ${[...model.opsets]}`);
  const defined = new Set<string>();
  const define = (name: string): void => {
    if (name === "") found.push("a value has no name");
    if (defined.has(name)) found.push(`${name} is defined twice`);
    defined.add(name);
  };
  for (const { name } of model.inputs) define(name);
  for (const tensor of model.initializers) {
    define(tensor.name);
    const bytes = tensor.shape.reduce((product, size) => product * size, 1) * elementBytes[tensor.type];
    const held = tensor.raw?.length ?? tensor.external?.length;
    if (held !== bytes) found.push(`${tensor.name} [${tensor.shape}] has ${held} bytes instead of ${bytes}`);
  }
  const nodeNames = new Set<string>();
  const used = new Set<string>();
  for (const { name, op, inputs, outputs, attributes } of model.nodes) {
    if (name === "" || nodeNames.has(name)) found.push(`two nodes are called "${name}"`);
    nodeNames.add(name);
    for (const input of inputs) {
      if (!defined.has(input)) found.push(`${name} reads ${input} before it is defined`);
      used.add(input);
    }
    const operator = operators[op];
    if (!operator) found.push(`${name}: there is no operator ${op}`);
    else {
      const [fewest, most, known = {}] = operator;
      if (inputs.length < fewest || inputs.length > most || outputs.length !== 1) found.push(`${name}: ${op} with ${inputs.length} inputs and ${outputs.length} outputs`);
      for (const [key, value] of attributes) {
        const kind = typeof value === "object" ? "list" : typeof value;
        if (known[key] !== kind) found.push(`${name}: ${op} with ${key} = ${String(value)}`);
      }
    }
    outputs.forEach(define);
  }
  for (const { name } of model.outputs) {
    if (!defined.has(name)) found.push(`output ${name} is never computed`);
    used.add(name);
  }
  for (const name of defined) if (!used.has(name)) found.push(`nothing reads ${name}`);
  return found;
}

/** A model as text, a line a node: what a reviewer compares. Values of constants are shown, those of float tensors are not. */
export function printOnnx(model: ReadModel): string {
  const lines = [
    `ir ${model.irVersion}, opset ${[...model.opsets].map(([domain, opset]) => `${domain || "ai.onnx"} ${opset}`).join(", ")}, from ${model.producer}`,
    `graph ${model.name}`,
    ...[...model.metadata].map(([key, value]) => `metadata ${key} = ${value}`),
    ...model.inputs.map(({ name, shape }) => `input ${name} : float[${shape.join(", ")}]`),
    ...model.initializers.map(({ name, type, shape, raw }) => `initializer ${name} : ${type}[${shape.join(", ")}]${type === "int64" && raw ? ` = ${wholeNumbers(raw).join(", ")}` : ""}`),
    ...model.nodes.map(({ name, op, inputs, outputs, attributes }) => {
      const shown = [...attributes].map(([key, value]) => `${key}: ${typeof value === "object" ? `[${value.join(", ")}]` : value}`).join(", ");
      return `${outputs.join(", ")} = ${op}(${inputs.join(", ")})${shown === "" ? "" : ` {${shown}}`}${name === outputs[0] ? "" : `  // ${name}`}`;
    }),
    ...model.outputs.map(({ name, shape }) => `output ${name} : float[${shape.join(", ")}]`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Elements of an int64 tensor. */
export const wholeNumbers = (raw: Uint8Array): number[] => Array.from(new BigInt64Array(Uint8Array.from(raw).buffer), Number);

/** Elements of a float tensor. */
export const floats = (raw: Uint8Array): Float32Array => new Float32Array(Uint8Array.from(raw).buffer);

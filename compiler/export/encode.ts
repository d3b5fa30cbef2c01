import { elements } from "../ir/ops/op.js";
import { irVersion, opsetVersion, type Attribute, type Initializer, type OnnxModel, type OnnxNode, type OnnxValue } from "./model.js";
import { byteLength, fields, floatField, integerField, messageField, stringField, type Chunks } from "./wire.js";

/** Field numbers of the messages that are written, by their names in onnx.proto3 (https://github.com/onnx/onnx, release 1.15). */
const ModelProto = { ir_version: 1, producer_name: 2, producer_version: 3, doc_string: 6, graph: 7, opset_import: 8, metadata_props: 14 } as const;
const OperatorSetIdProto = { domain: 1, version: 2 } as const;
const StringStringEntryProto = { key: 1, value: 2 } as const;
const GraphProto = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;
const NodeProto = { input: 1, output: 2, name: 3, op_type: 4, attribute: 5 } as const;
const AttributeProto = { name: 1, f: 2, i: 3, s: 4, ints: 8, type: 20 } as const;
const TensorProto = { dims: 1, data_type: 2, name: 8, raw_data: 9, external_data: 13, data_location: 14 } as const;
const ValueInfoProto = { name: 1, type: 2 } as const;
const TypeProto = { tensor_type: 1 } as const;
const TensorTypeProto = { elem_type: 1, shape: 2 } as const;
const TensorShapeProto = { dim: 1 } as const;
const DimensionProto = { dim_value: 1, dim_param: 2 } as const;

/** Enums, as onnx.proto3 numbers them. */
const AttributeType = { float: 1, int: 2, string: 3, ints: 7 } as const;
const DataType = { FLOAT: 1, INT64: 7 } as const;
const DataLocation = { EXTERNAL: 1 } as const;

/** Protobuf's own limit on a message, 2 GiB: readers count bytes in a signed 32-bit number. */
export const largestMessageBytes = 2 ** 31 - 1;

/** Tensors in a file of their own begin at a multiple of a page, so that readers may map them into memory, as ONNX advises. */
const pageBytes = 4096;

/** The files of a model, laid out: parameters are `Reserved` chunks. */
export interface OnnxLayout {
  readonly model: Chunks;
  /** The tensors beside the model, when it does not hold them itself. */
  readonly external?: Chunks;
}

/** Where parameters go: into the model while it stays below protobuf's limit (`auto`), or in any case beside it. */
export interface EncodeOptions {
  readonly weights: "auto" | "external";
  /** Name of the file beside the model, as the model spells it. */
  readonly externalName: string;
  /** Bytes of the largest model that holds its weights; the default is protobuf's limit. */
  readonly largest?: number;
}

/** Lays a model out as protobuf messages. Nothing of the size of a parameter is allocated. */
export function encode(model: OnnxModel, { weights, externalName, largest = largestMessageBytes }: EncodeOptions): OnnxLayout {
  if (weights === "auto") {
    const whole = encodeModel(model, inline);
    if (byteLength(whole) <= largest) return { model: whole };
  }
  let end = 0;
  const external: Chunks[] = [];
  const place = (tensor: Initializer): Chunks => {
    const [offset, length] = [Math.ceil(end / pageBytes) * pageBytes, parameterBytes(tensor)];
    if (offset > end) external.push([new Uint8Array(offset - end)]);
    external.push([{ tensor: tensor.name, length }]);
    end = offset + length;
    const entries = { location: externalName, offset: String(offset), length: String(length) };
    return fields(...Object.entries(entries).map(([key, value]) => entry(TensorProto.external_data, key, value)), integerField(TensorProto.data_location, DataLocation.EXTERNAL));
  };
  return { model: encodeModel(model, place), external: fields(...external) };
}

/** How a parameter's bytes are given in its TensorProto. */
type Place = (tensor: Initializer) => Chunks;

const inline: Place = (tensor) => messageField(TensorProto.raw_data, [{ tensor: tensor.name, length: parameterBytes(tensor) }]);

const parameterBytes = ({ shape }: Initializer): number => elements(shape) * Float32Array.BYTES_PER_ELEMENT;

function encodeModel(model: OnnxModel, place: Place): Chunks {
  const graph = fields(
    ...model.nodes.map((node) => messageField(GraphProto.node, encodeNode(node))),
    stringField(GraphProto.name, model.name),
    ...model.initializers.map((tensor) => messageField(GraphProto.initializer, encodeTensor(tensor, place))),
    ...model.inputs.map((value) => messageField(GraphProto.input, encodeValue(value))),
    ...model.outputs.map((value) => messageField(GraphProto.output, encodeValue(value))),
  );
  return fields(
    integerField(ModelProto.ir_version, irVersion),
    stringField(ModelProto.producer_name, "vitc"),
    stringField(ModelProto.producer_version, model.producerVersion),
    stringField(ModelProto.doc_string, model.doc),
    messageField(ModelProto.graph, graph),
    messageField(ModelProto.opset_import, fields(stringField(OperatorSetIdProto.domain, ""), integerField(OperatorSetIdProto.version, opsetVersion))),
    ...Object.entries(model.metadata).map(([key, value]) => entry(ModelProto.metadata_props, key, value)),
  );
}

const entry = (field: number, key: string, value: string): Chunks =>
  messageField(field, fields(stringField(StringStringEntryProto.key, key), stringField(StringStringEntryProto.value, value)));

const encodeNode = ({ name, op, inputs, output, attributes }: OnnxNode): Chunks =>
  fields(
    ...inputs.map((input) => stringField(NodeProto.input, input)),
    stringField(NodeProto.output, output),
    stringField(NodeProto.name, name),
    stringField(NodeProto.op_type, op),
    ...Object.entries(attributes).map(([key, value]) => messageField(NodeProto.attribute, encodeAttribute(key, value))),
  );

function encodeAttribute(name: string, attribute: Attribute): Chunks {
  const value = attributeValue(attribute);
  return fields(stringField(AttributeProto.name, name), value, integerField(AttributeProto.type, AttributeType[attribute.kind]));
}

function attributeValue(attribute: Attribute): Chunks {
  switch (attribute.kind) {
    case "int":
      return integerField(AttributeProto.i, attribute.value);
    case "ints":
      return fields(...attribute.value.map((value) => integerField(AttributeProto.ints, value)));
    case "float":
      return floatField(AttributeProto.f, attribute.value);
    case "string":
      return stringField(AttributeProto.s, attribute.value);
    default:
      return attribute satisfies never;
  }
}

function encodeTensor(tensor: Initializer, place: Place): Chunks {
  const { name, shape, data } = tensor;
  return fields(
    // One field a size, as the reference library writes them: readers take a packed list too, small ones may not.
    ...shape.map((size) => integerField(TensorProto.dims, size)),
    integerField(TensorProto.data_type, data instanceof BigInt64Array ? DataType.INT64 : DataType.FLOAT),
    stringField(TensorProto.name, name),
    // Typed arrays are little-endian wherever Node runs, and so is raw_data.
    data ? messageField(TensorProto.raw_data, [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]) : place(tensor),
  );
}

function encodeValue({ name, shape }: OnnxValue): Chunks {
  const dimension = (size: number | string): Chunks => (typeof size === "number" ? integerField(DimensionProto.dim_value, size) : stringField(DimensionProto.dim_param, size));
  const dimensions = fields(...shape.map((size) => messageField(TensorShapeProto.dim, dimension(size))));
  const tensor = fields(integerField(TensorTypeProto.elem_type, DataType.FLOAT), messageField(TensorTypeProto.shape, dimensions));
  return fields(stringField(ValueInfoProto.name, name), messageField(ValueInfoProto.type, messageField(TypeProto.tensor_type, tensor)));
}

/**
 * TensorFlow.js's WebGPU backend on npm `webgpu`. It has no ONNX importer, so the model is written here with its ops, from the spec and timm's
 * tensors: the way a user of the library would write it, weights turned once, biases fused into the products.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { importPeer, navigatorAdapterName, packageVersion, provideNavigatorGpu, webgpuVersion } from "./installed.js";
import { readInput, timed, type Job, type Opened } from "./runtime.js";

/** The part of @tensorflow/tfjs-core that is used. */
interface Tensor {
  readonly shape: readonly number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}
type Shape = readonly number[];
interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  getBackend(): string;
  tidy<Result extends Tensor>(work: () => Result): Result;
  tensor(values: Float32Array, shape: Shape): Tensor;
  transpose(x: Tensor, axes?: Shape): Tensor;
  reshape(x: Tensor, shape: Shape): Tensor;
  concat(tensors: readonly Tensor[], axis: number): Tensor;
  tile(x: Tensor, times: Shape): Tensor;
  slice(x: Tensor, begin: Shape, size: Shape): Tensor;
  unstack(x: Tensor, axis: number): Tensor[];
  moments(x: Tensor, axis: number, keepDims: boolean): { readonly mean: Tensor; readonly variance: Tensor };
  add(a: Tensor, b: Tensor | number): Tensor;
  sub(a: Tensor, b: Tensor | number): Tensor;
  mul(a: Tensor, b: Tensor | number): Tensor;
  rsqrt(x: Tensor): Tensor;
  erf(x: Tensor): Tensor;
  softmax(x: Tensor): Tensor;
  conv2d(x: Tensor, filter: Tensor, strides: readonly [number, number], padding: "valid"): Tensor;
  matMul(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor;
  readonly fused: { matMul(options: { readonly a: Tensor; readonly b: Tensor; readonly bias: Tensor }): Tensor };
}

export async function open(job: Job): Promise<Opened> {
  await provideNavigatorGpu();
  const tf = await importPeer<Tf>("@tensorflow/tfjs-core");
  await importPeer("@tensorflow/tfjs-backend-webgpu");
  const adapter = await navigatorAdapterName();
  const input = readInput(job);
  const { result: forward, milliseconds: loadMilliseconds } = await timed(async () => {
    if (!(await tf.setBackend("webgpu"))) throw new Error("TensorFlow.js did not start its WebGPU backend");
    await tf.ready();
    return visionTransformer(tf, job);
  });
  return {
    version: `${packageVersion("@tensorflow/tfjs-backend-webgpu")} (webgpu ${webgpuVersion()})`,
    adapter,
    loadMilliseconds,
    async run() {
      const { result, milliseconds } = await timed(async () => {
        const logits = tf.tidy(() => forward(tf.tensor(input, job.shape)));
        const values = await logits.data();
        logits.dispose();
        return values;
      });
      return { milliseconds, output: result };
    },
  };
}

/**
 * The forward pass of a plain ViT, weights on the device.
 * @throws Error for a spec that has parts which are not written here.
 */
function visionTransformer(tf: Tf, { root, weights, spec }: Job): (images: Tensor) => Tensor {
  const plain = spec.tokens.class && !spec.tokens.distillation && spec.position.kind === "learned" && spec.pool === "token" && spec.finalNorm === "tokens" && spec.stem.length === 0 && spec.representation === 0 && spec.mlp.activation === "gelu" && spec.classes > 0;
  if (!plain) throw new Error(`${spec.name} has parts that the hand-written model lacks; it is a plain ViT with a class token, learned positions and GELU`);
  const { dim, depth, heads, headDim, classes, patch } = spec;
  const { eps } = spec.norm;
  const tensors = readWeights(join(root, weights));
  const constant = (name: string): Tensor => {
    const found = tensors[name];
    if (found === undefined) throw new Error(`the weight file has no ${name}`);
    return tf.tensor(found.values, found.shape);
  };
  const once = (make: () => Tensor): Tensor => tf.tidy(make);

  type Layer = (x: Tensor) => Tensor;
  /** timm's weights are [out, in]; the product of [in, out] needs no transposing in each run. */
  const linear = (name: string): Layer => {
    const b = once(() => tf.transpose(constant(`${name}.weight`)));
    const bias = constant(`${name}.bias`);
    return (a) => tf.fused.matMul({ a, b, bias });
  };
  const norm = (name: string): Layer => {
    const [scale, bias] = [constant(`${name}.weight`), constant(`${name}.bias`)];
    return (x) => {
      const { mean, variance } = tf.moments(x, -1, true);
      return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps))), scale), bias);
    };
  };
  const gelu: Layer = (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));

  const filter = once(() => tf.transpose(constant("patch_embed.proj.weight"), [2, 3, 1, 0]));
  const patchBias = constant("patch_embed.proj.bias");
  const [classToken, position] = [constant("cls_token"), constant("pos_embed")];
  const blocks = Array.from({ length: depth }, (_, i) => ({
    norm1: norm(`blocks.${i}.norm1`),
    qkv: linear(`blocks.${i}.attn.qkv`),
    projection: linear(`blocks.${i}.attn.proj`),
    norm2: norm(`blocks.${i}.norm2`),
    fc1: linear(`blocks.${i}.mlp.fc1`),
    fc2: linear(`blocks.${i}.mlp.fc2`),
  }));
  const finalNorm = norm("norm");
  const head = linear("head");
  const count = position.shape[1] ?? 0;

  return (images) => {
    const batch = images.shape[0] ?? 1;
    const patches = tf.add(tf.conv2d(tf.transpose(images, [0, 2, 3, 1]), filter, [patch[0], patch[1]], "valid"), patchBias);
    const tokens = tf.concat([tf.tile(classToken, [batch, 1, 1]), tf.reshape(patches, [batch, count - 1, dim])], 1);
    // Rows of all images: products of two matrices are what the backend is best at.
    let x = tf.reshape(tf.add(tokens, position), [batch * count, dim]);
    for (const block of blocks) {
      x = tf.add(x, block.projection(attention(block.qkv(block.norm1(x)), batch)));
      x = tf.add(x, block.fc2(gelu(block.fc1(block.norm2(x)))));
    }
    const first = tf.slice(tf.reshape(x, [batch, count, dim]), [0, 0, 0], [batch, 1, dim]);
    return tf.reshape(head(finalNorm(tf.reshape(first, [batch, dim]))), [batch, classes]);
  };

  function attention(qkv: Tensor, batch: number): Tensor {
    const parts = tf.transpose(tf.reshape(qkv, [batch, count, 3, heads, headDim]), [2, 0, 3, 1, 4]);
    const [q, k, v] = tf.unstack(parts, 0);
    if (q === undefined || k === undefined || v === undefined) throw new Error("qkv has fewer than three parts");
    const scores = tf.softmax(tf.matMul(tf.mul(q, spec.attention.scale), k, false, true));
    return tf.reshape(tf.transpose(tf.matMul(scores, v, false, false), [0, 2, 1, 3]), [batch * count, heads * headDim]);
  }
}

/** The tensors of a safetensors file in f32, by name. */
function readWeights(path: string): Readonly<Record<string, { readonly shape: Shape; readonly values: Float32Array }>> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, start)) as Readonly<Record<string, { readonly shape: Shape; readonly data_offsets: readonly [number, number] }>>;
  const data = file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length);
  return Object.fromEntries(Object.entries(header).map(([name, { shape, data_offsets: [from, to] }]) => [name, { shape, values: new Float32Array(data, from, (to - from) / 4) }]));
}

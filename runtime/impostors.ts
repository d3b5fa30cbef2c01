/** Files that people pass as weights by mistake: what they are, and what to do. */

interface Impostor {
  /** The file's first bytes, as text with one character a byte. */
  readonly starts: RegExp;
  readonly advice: string;
}

const fromPickle =
  'convert it once: python -c "import torch; from safetensors.torch import save_file; ' +
  "save_file({k: v.contiguous().clone() for k, v in torch.load('model.pt', map_location='cpu', weights_only=True).items()}, 'model.safetensors')\"";

const fromNumpy =
  'convert it once: python -c "import numpy; from safetensors.numpy import save_file; ' +
  "save_file({k: numpy.ascontiguousarray(v) for k, v in numpy.load('model.npz').items()}, 'model.safetensors')\"";

/** The first that matches wins. */
const impostors: readonly Impostor[] = [
  { starts: /^PK[^]{28,200}?\.npy/, advice: `this looks like NumPy's .npz; ${fromNumpy}` },
  { starts: /^PK/, advice: `this looks like a zip, as torch.save writes it (.pt, .pth, .bin, .ckpt); ${fromPickle}` },
  { starts: /^\x80[\x02-\x05](\x8a\nl\xfc|c|\}|\x95)/, advice: `this looks like a Python pickle, as old versions of torch.save write it; ${fromPickle}` },
  { starts: /^\x93NUMPY/, advice: "this looks like NumPy's .npy, a single array without a name; write a safetensors file with safetensors.numpy.save_file" },
  { starts: /^version https:\/\/git-lfs/, advice: "this is a Git LFS pointer, not the file it stands for; run `git lfs pull` in its repository" },
  { starts: /^\s*<(!doctype|html|head|\?xml)/i, advice: "this is a web page; use the address of the file itself (on Hugging Face: /resolve/main/ instead of /blob/main/)" },
  { starts: /^GGUF/, advice: "this is a GGUF file, whose tensors are usually quantized; use the model's original safetensors file" },
  { starts: /^\x89HDF\r\n/, advice: "this is an HDF5 file (Keras, TensorFlow); load it in its framework and write it with safetensors.numpy.save_file" },
  { starts: /^\x1f\x8b/, advice: "this is a gzip file; unpack it first" },
  { starts: /^\s*\{/, advice: "this is JSON, a configuration perhaps; pass the .safetensors file itself, or the index that lists several" },
  { starts: /^\s*(Access denied|Not Found|Entry not found|Invalid)/i, advice: "this is a server's error message instead of the file; check the address" },
];

/** What a file that is no safetensors file seems to be and what to do about it, or undefined. `start` is its first few hundred bytes. */
export function recognizeFile(start: Uint8Array): string | undefined {
  const text = String.fromCharCode(...start.subarray(0, 512));
  const impostor = impostors.find(({ starts }) => starts.test(text));
  return impostor === undefined ? undefined : `not a safetensors file: ${impostor.advice}`;
}

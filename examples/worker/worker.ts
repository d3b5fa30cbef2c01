/** The worker's half: it loads the package, classifies bitmaps, and draws each with its name on the page's canvas. */
import weights from "../../test/fixtures/vit-cifar10/model.safetensors?url";
import { load } from "../../generated/vit-cifar10/index.js";
import type { FromWorker, ToWorker } from "./messages.js";

const send = (message: FromWorker): void => self.postMessage(message);
const model = load({
  weights: new URL(weights, self.location.href),
  cache: true,
  onProgress: ({ stage, loaded, total }) => send({ status: `Loading: ${stage} ${Math.round((100 * loaded) / total)} %`, busy: true }),
});
model.then(({ adapter }) => send({ status: `Ready on ${adapter.description || adapter.vendor}`, ready: true }), fail);

let canvas: OffscreenCanvas | undefined;
self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if ("canvas" in data) canvas = data.canvas;
  // It is ours to close when all is done with it.
  else show(data.photograph).catch(fail).finally(() => data.photograph.close());
});

async function show(photograph: ImageBitmap): Promise<void> {
  const began = performance.now();
  // The bitmap is prepared on the GPU and never read back.
  const [best] = await (await model).classify(photograph, { top: 1 });
  const { label, probability } = best![0]!;
  const milliseconds = performance.now() - began;
  if (canvas) draw(canvas, photograph, label);
  send({ status: `${label}, ${(100 * probability).toFixed(1)} %, in ${milliseconds.toFixed(0)} ms` });
}

function draw(target: OffscreenCanvas, photograph: ImageBitmap, label: string): void {
  const { width, height } = target;
  const context = target.getContext("2d")!;
  const scale = Math.max(width / photograph.width, height / photograph.height);
  const [drawnWidth, drawnHeight] = [photograph.width * scale, photograph.height * scale];
  context.drawImage(photograph, (width - drawnWidth) / 2, (height - drawnHeight) / 2, drawnWidth, drawnHeight);
  context.font = "600 32px system-ui, sans-serif";
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.fillRect(16, height - 68, context.measureText(label).width + 32, 52);
  context.fillStyle = "#fff";
  context.fillText(label, 32, height - 31);
}

function fail(error: unknown): void {
  send({ status: error instanceof Error ? error.message : String(error) });
}

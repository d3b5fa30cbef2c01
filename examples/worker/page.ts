/**
 * The page's half: it hands over a canvas once and bitmaps after that, and shows what the worker says. Nothing of the model runs here, so the
 * page scrolls and answers while weights load and kernels run.
 *
 *   npm run example:worker
 */
import type { FromWorker, ToWorker } from "./messages.js";

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
const send = (message: ToWorker, transfer: Transferable[]): void => worker.postMessage(message, transfer);
const input = document.querySelector("input")!;
const status = document.querySelector<HTMLElement>("[role=status]")!;

worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
  // Screen readers wait until it is not busy: they would say every percent.
  status.ariaBusy = String(data.busy === true);
  status.textContent = data.status;
  if (data.ready === true) input.disabled = false;
});
worker.addEventListener("error", ({ message }) => (status.textContent = message || "the worker could not be loaded"));

const canvas = document.querySelector("canvas")!.transferControlToOffscreen();
send({ canvas }, [canvas]);

input.addEventListener("change", () => {
  const [file] = input.files ?? [];
  if (file === undefined) return;
  createImageBitmap(file).then(
    // Transferred, not copied: the bitmap belongs to the worker from then on.
    (photograph) => send({ photograph }, [photograph]),
    () => (status.textContent = `${file.name} is no photograph that this browser can decode`),
  );
});

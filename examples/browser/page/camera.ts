/** A dialog that takes one photograph with the camera. */
import { messageOf } from "./client.js";
import { find } from "./dom.js";

/** Lets the camera's button open the dialog, and hands over what is taken. */
export function setUpCamera(onPhotograph: (photograph: File) => void): void {
  const dialog = find("camera-dialog", HTMLDialogElement);
  const video = find("camera-video", HTMLVideoElement);
  const take = find("camera-take", HTMLButtonElement);
  const problem = find("camera-problem", HTMLParagraphElement);
  let stream: MediaStream | undefined;

  const open = async (): Promise<void> => {
    problem.textContent = "";
    take.disabled = true;
    dialog.showModal();
    try {
      const { mediaDevices } = navigator as { readonly mediaDevices?: MediaDevices };
      if (mediaDevices === undefined) throw new Error("this browser gives pages no camera here");
      const opened = await mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      // It may have been closed while the browser asked.
      if (!dialog.open) return stop(opened);
      stream = opened;
      video.srcObject = stream;
      await video.play();
      take.disabled = false;
      take.focus();
    } catch (error) {
      problem.textContent = whyNot(error);
    }
  };

  find("camera", HTMLButtonElement).addEventListener("click", () => void open());
  find("camera-close", HTMLButtonElement).addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stop(stream);
    stream = undefined;
    video.srcObject = null;
  });
  take.addEventListener("click", () => {
    void frameOf(video).then((photograph) => {
      dialog.close();
      onPhotograph(photograph);
    });
  });
}

const stop = (stream: MediaStream | undefined): void => stream?.getTracks().forEach((track) => track.stop());

/** What the camera shows now, without loss. */
async function frameOf(video: HTMLVideoElement): Promise<File> {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d")!.drawImage(video, 0, 0);
  return new File([await canvas.convertToBlob({ type: "image/png" })], "camera.png", { type: "image/png" });
}

function whyNot(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError") return "The camera is not allowed for this page: allow it in the browser's address bar, then open this again.";
  if (name === "NotFoundError") return "No camera was found on this device.";
  if (name === "NotReadableError") return "The camera is in use by another program.";
  return `The camera cannot be used: ${messageOf(error)}`;
}

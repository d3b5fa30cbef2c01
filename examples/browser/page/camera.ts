/** A dialog that takes one photograph with the camera. */
import { messageOf } from "./client.js";
import { find } from "./dom.js";

/** Lets the camera's button open the dialog, and hands over what is taken. */
export function setUpCamera(onPhotograph: (photograph: File) => void): void {
  const dialog = find("camera-dialog", HTMLDialogElement);
  const video = find("camera-video", HTMLVideoElement);
  const take = find("camera-take", HTMLButtonElement);
  const problem = find("camera-problem", HTMLParagraphElement);
  const wait = find("camera-wait", HTMLParagraphElement);
  let stream: MediaStream | undefined;
  /** Counts openings and closings: what was awaited in one opening has no say in a later one. */
  let opening = 0;

  const end = (): void => {
    opening++;
    stop(stream);
    stream = undefined;
    video.srcObject = null;
    take.disabled = true;
    problem.textContent = wait.textContent = "";
  };
  const open = async (): Promise<void> => {
    end();
    const own = opening;
    dialog.showModal();
    wait.textContent = "Waiting for the camera";
    try {
      const { mediaDevices } = navigator as { readonly mediaDevices?: MediaDevices };
      if (mediaDevices === undefined) throw new Error("this browser gives pages no camera here");
      const opened = await mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      // It may have been closed while the browser asked, and opened again.
      if (own !== opening) return stop(opened);
      stream = opened;
      for (const track of opened.getTracks()) track.addEventListener("ended", () => own === opening && fail("The camera was turned off: close this and open it again."));
      video.srcObject = opened;
      await video.play();
      if (own !== opening) return;
      take.disabled = false;
      wait.textContent = "";
      take.focus();
    } catch (error) {
      if (own === opening) fail(whyNot(error));
    }
  };
  /** Says why there is no picture, with the camera off and the dialog open. */
  const fail = (text: string): void => {
    end();
    problem.textContent = text;
    find("camera-close", HTMLButtonElement).focus();
  };
  const takePhotograph = async (): Promise<void> => {
    const own = opening;
    problem.textContent = "";
    try {
      const photograph = await frameOf(video);
      // It was closed meanwhile, or taken by a click before.
      if (own !== opening) return;
      end();
      dialog.close();
      onPhotograph(photograph);
    } catch (error) {
      // The camera stays on, for another try.
      if (own === opening) problem.textContent = `No photograph was taken: ${messageOf(error)}`;
    }
  };

  find("camera", HTMLButtonElement).addEventListener("click", () => void open());
  find("camera-close", HTMLButtonElement).addEventListener("click", () => dialog.close());
  // The event comes a little after the closing, when the dialog may be open again.
  dialog.addEventListener("close", () => !dialog.open && end());
  take.addEventListener("click", () => void takePhotograph());
}

const stop = (stream: MediaStream | undefined): void => stream?.getTracks().forEach((track) => track.stop());

/** What the camera shows now, without loss. */
async function frameOf(video: HTMLVideoElement): Promise<File> {
  const { videoWidth: width, videoHeight: height } = video;
  if (width === 0 || height === 0) throw new Error("the camera has sent no picture yet, try again");
  const canvas = new OffscreenCanvas(width, height);
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

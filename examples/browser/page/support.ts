/** What to do where there is no WebGPU. */
import { find, h } from "./dom.js";

interface Advice {
  readonly browser: string;
  readonly is: RegExp;
  readonly text: string;
}

/** The first that fits the user agent is this browser; Chrome's name is in most of them, so it comes late. */
const advice: readonly Advice[] = [
  { browser: "Firefox", is: /Firefox|FxiOS/, text: "Version 141 or later on Windows, 145 or later on a Mac with an Apple chip. Elsewhere open about:config and set dom.webgpu.enabled to true, or take Firefox Nightly." },
  { browser: "Edge", is: /Edg/, text: "Version 113 or later. In Settings, System, turn on graphics acceleration; edge://gpu says what is in the way." },
  { browser: "Samsung Internet", is: /SamsungBrowser/, text: "Version 24 or later, on Android 12 or later." },
  { browser: "Chrome", is: /Chrome|CriOS/, text: "Version 113 or later, on Android 121 or later. In Settings, System, turn on graphics acceleration. On Linux also set chrome://flags/#enable-unsafe-webgpu and #enable-vulkan; chrome://gpu says what is in the way." },
  { browser: "Safari", is: /Safari/, text: "Version 26 or later, on macOS 26, iOS 26 or iPadOS 26. In 18 turn on Settings, Apps, Safari, Advanced, Feature Flags, WebGPU (on a Mac: Develop, Feature Flags)." },
];

/** Why models cannot run here, or undefined if they can as far as one can tell beforehand. */
export async function reasonAgainst(): Promise<string | undefined> {
  if (!isSecureContext) return "Browsers give WebGPU to secure pages only: open this one over https, or from localhost.";
  const { gpu } = navigator as { readonly gpu?: GPU };
  if (gpu === undefined) return "This browser has no WebGPU, or it is turned off.";
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter === null ? "This browser has WebGPU and found no graphics adapter that it may use: graphics acceleration may be turned off, or the driver may be too old." : undefined;
}

/** Shows why, and what can be done in which browser, this one first. */
export function showUnsupported(reason: string): void {
  find("unsupported-reason", HTMLParagraphElement).textContent = reason;
  const own = advice.find(({ is }) => is.test(navigator.userAgent));
  const rows = [...(own ? [own] : []), ...advice.filter((each) => each !== own)];
  find("unsupported-advice", HTMLDListElement).replaceChildren(...rows.map((each) => h("div", { class: each === own ? "own" : undefined }, h("dt", {}, each.browser, each === own && " (this browser)"), h("dd", {}, each.text))));
  find("unsupported", HTMLElement).hidden = false;
}

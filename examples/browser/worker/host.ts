/** A model on a device, with the photograph that it saw last. */
import { adapterName, frameOf, requestBrowserDevice, softmax, topClasses, type Progress, type RunProfile } from "vitc/runtime";
import type { Area, AttentionSeen, LoadedModel, LoadRequest, Predicted, Request } from "../messages.js";
import { Attention, mapsAmong, nothingSeen } from "./attention.js";
import { needsOf } from "./needs.js";
import { drawOverlay } from "./overlay.js";
import { openPackage, type AnyModel, type PackageSpec } from "./packages.js";

/** What goes with a call. */
export interface Call {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

interface Hosted {
  readonly model: AnyModel;
  readonly spec: PackageSpec;
  /** An image of made-up values, for timing. */
  readonly values: Float32Array;
}

export class ModelHost {
  private hosted: Hosted | undefined;
  private canvas: OffscreenCanvas | undefined;
  private attention: Attention | undefined;
  private area: Area = { left: 0, top: 0, width: 1, height: 1 };

  constructor(private readonly onNotice: (notice: string) => void) {}

  async load({ source, dtype }: LoadRequest, { signal, onProgress }: Call): Promise<LoadedModel> {
    const began = performance.now();
    const { module, spec, weights, cache } = await openPackage(source);
    signal.throwIfAborted();
    const requestDevice = async (): Promise<GPUDevice> => (await requestBrowserDevice(needsOf(module))).device;
    // A device of ours, because the timeline wants the GPU's clock, which a model does not ask for itself.
    const device = await requestDevice();
    const model = await module.load({ weights, cache, dtype, device, onDeviceLost: requestDevice, signal, onProgress, onNotice: this.onNotice }).catch((error: unknown) => {
      device.destroy();
      throw error;
    });
    const { channels, image: [height, width] } = spec;
    const values = Float32Array.from({ length: channels * height * width }, (_, i) => Math.sin(i));
    // The first run also does the last of the driver's work.
    const outputs = await model.run(values, { signal });
    this.hosted = { model, spec, values };
    const { main, labels, adapter } = model;
    return {
      ...{ name: spec.name, adapterName: adapterName(adapter), dtype: model.dtype, gpuBytes: model.gpuBytes },
      ...{ classes: main.classes ? outputs[main.name]!.shape[1]! : 0, labels, maps: mapsAmong(outputs) },
      profile: await this.profileOf(model, 0, signal),
      milliseconds: performance.now() - began,
    };
  }

  async predict({ photograph, width, height }: Request<"predict">, { signal }: Call): Promise<Predicted> {
    const { model, spec } = this.expectLoaded();
    const began = performance.now();
    const outputs = await model.run(photograph, { signal });
    const milliseconds = performance.now() - began;
    const { main, labels } = model;
    const maps = new Map(mapsAmong(outputs).map(({ output, block }) => [block, outputs[output]!]));
    this.attention = maps.size > 0 ? new Attention(maps, spec) : undefined;
    this.area = areaOf({ width, height }, spec);
    return { top: main.classes ? topClasses(outputs[main.name]!, labels, 5) : [], milliseconds, area: this.area, grid: this.attention?.grid };
  }

  async probabilities({ photographs }: Request<"probabilities">, { signal }: Call): Promise<readonly Float32Array[]> {
    const { model } = this.expectLoaded();
    const { main } = model;
    if (!main.classes) return [];
    const found: Float32Array[] = [];
    for await (const outputs of model.runMany(photographs, { signal })) found.push(Float32Array.from(softmax(outputs[main.name]!)));
    return found;
  }

  takeCanvas(canvas: OffscreenCanvas): Promise<void> {
    this.canvas = canvas;
    return Promise.resolve();
  }

  show({ size, ...view }: Request<"show">): Promise<AttentionSeen> {
    const seen = this.attention?.seen(view) ?? nothingSeen;
    if (this.canvas) drawOverlay(this.canvas, size, { weights: seen.weights, grid: this.attention?.grid, area: this.area, patch: view.patch });
    return Promise.resolve(seen);
  }

  async time({ signal }: Call): Promise<number> {
    const { model, values } = this.expectLoaded();
    const began = performance.now();
    await model.run(values, { signal });
    return performance.now() - began;
  }

  async profile({ runs }: Request<"profile">, { signal }: Call): Promise<RunProfile> {
    const profile = await this.profileOf(this.expectLoaded().model, runs, signal);
    if (profile === undefined) throw new Error("this package was compiled by an older vitc, which times no dispatches: compile it again");
    return profile;
  }

  lose(): Promise<void> {
    this.expectLoaded().model.device.destroy();
    return Promise.resolve();
  }

  private async profileOf(model: AnyModel, runs: number, signal: AbortSignal): Promise<RunProfile | undefined> {
    // A chosen package brings its own runtime, which may be of before.
    return "profile" in model ? model.profile({ runs, signal }) : undefined;
  }

  private expectLoaded(): Hosted {
    if (this.hosted === undefined) throw new Error("no model is loaded");
    return this.hosted;
  }
}

/** The part of a photograph that a model sees. */
function areaOf(photograph: { readonly width: number; readonly height: number }, { image: [height, width], preprocess }: PackageSpec): Area {
  const frame = frameOf(photograph, preprocess, height, width);
  // Padding lies beyond the photograph's edges.
  return {
    left: (frame.area.left - frame.left) / frame.width,
    top: (frame.area.top - frame.top) / frame.height,
    width: width / frame.width,
    height: height / frame.height,
  };
}

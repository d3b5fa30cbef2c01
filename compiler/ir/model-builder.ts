import type { Geometry, ResolvedSpec } from "../spec/resolve.js";
import { GraphBuilder, type Value } from "./graph.js";

/** GraphBuilder with the layers that a Vision Transformer repeats. Parameters have timm's names. */
export class ModelBuilder extends GraphBuilder {
  readonly geometry: Geometry;
  private readonly known = new Map<string, Value>();

  constructor(
    readonly spec: ResolvedSpec,
    readonly batch: number,
  ) {
    super(spec.name);
    this.geometry = spec.geometry;
  }

  /** Makes a value an output, by its name in the package. */
  returns(name: string, value: Value): void {
    this.output(this.spec.outputNames[name] ?? name, value);
  }

  /** The value itself, which is an output too if the spec asks for it. */
  tap(name: string, value: Value): Value {
    if (this.asks(name)) this.returns(name, value);
    return value;
  }

  asks(name: string): boolean {
    return this.spec.outputs.includes(name);
  }

  /** What several blocks read, made when the first does. */
  once(name: string, make: (name: string) => Value): Value {
    const value = this.known.get(name) ?? make(name);
    this.known.set(name, value);
    return value;
  }

  linear(x: Value, name: string, out: number, bias = true): Value {
    const weight = this.parameter(`${name}.weight`, [out, widthOf(x)]);
    return this.node("linear", {}, bias ? [x, weight, this.parameter(`${name}.bias`, [out])] : [x, weight], name);
  }

  /** The spec's norm over the last axis, or one of another kind. */
  norm(x: Value, name: string, { kind, eps }: ResolvedSpec["norm"] = this.spec.norm): Value {
    const scale = this.parameter(`${name}.weight`, [widthOf(x)]);
    if (kind === "rms") return this.node("rmsNorm", { eps }, [x, scale], name);
    return this.node("layerNorm", { eps }, [x, scale, this.parameter(`${name}.bias`, [widthOf(x)])], name);
  }

  activation(x: Value, kind: ResolvedSpec["mlp"]["activation"] | "tanh" | "sigmoid", name: string): Value {
    return this.node("activation", { kind }, [x], name);
  }

  dropout(x: Value, rate: number, name: string): Value {
    return rate > 0 ? this.node("dropout", { rate }, [x], name) : x;
  }

  /** The branch's own factor for each channel, where the spec has them. */
  layerScale(x: Value, name: string): Value {
    return this.spec.layerScale === undefined ? x : this.node("scaleLast", {}, [x, this.parameter(`${name}.gamma`, [this.spec.dim])], name);
  }

  dropPath(x: Value, rate: number, name: string): Value {
    return rate > 0 ? this.node("dropPath", { rate }, [x], name) : x;
  }
}

export const widthOf = (x: Value): number => x.shape[x.shape.length - 1]!;

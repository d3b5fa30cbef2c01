import { empty, wgsl, type Wgsl } from "./wgsl.js";

export type ActivationName = "none" | "gelu" | "gelu_tanh" | "quick_gelu" | "relu" | "sigmoid" | "silu" | "tanh";

/** Defines `fn activate(x: vec4<f32>) -> vec4<f32>`, or nothing for `none`. */
export function activationFunction(name: ActivationName): Wgsl {
  switch (name) {
    case "none":
      return empty;
    case "relu":
      return wgsl`
        fn activate(x: vec4<f32>) -> vec4<f32> {
          return max(x, vec4<f32>(0.0));
        }
      `;
    case "sigmoid":
      return wgsl`
        fn activate(x: vec4<f32>) -> vec4<f32> {
          return 1.0 / (1.0 + exp(min(-x, vec4<f32>(80.0))));
        }
      `;
    case "silu":
      return sigmoidTimes("1.0");
    case "quick_gelu":
      return sigmoidTimes("1.702");
    case "tanh":
      return wgsl`
        fn activate(x: vec4<f32>) -> vec4<f32> {
          return safe_tanh(x);
        }

        ${safeTanh}
      `;
    case "gelu_tanh":
      return wgsl`
        fn activate(x: vec4<f32>) -> vec4<f32> {
          return 0.5 * x * (1.0 + safe_tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
        }

        ${safeTanh}
      `;
    case "gelu":
      return gelu;
    default:
      return name satisfies never;
  }
}

// exp overflows beyond 88; WGSL may assume that nothing is infinite, so the argument is kept where the result is finite.
const sigmoidTimes = (slope: "1.0" | "1.702"): Wgsl => wgsl`
  fn activate(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exp(min(-${slope as Wgsl} * x, vec4<f32>(80.0))));
  }
`;

// The built-in tanh is garbage for large arguments on several drivers, and wrong by 1e-5 where it is allowed to be.
const safeTanh: Wgsl = wgsl`
  fn safe_tanh(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4<f32>(10.0));
    let e = exp(-2.0 * a);
    let large = (1.0 - e) / (1.0 + e);
    let s = a * a;
    // Below 0.25 the quotient cancels; the Taylor polynomial is exact to f32 there.
    let small = a * (1.0 + s * (-0.333333333 + s * (0.133333333 + s * (-0.053968254 + s * 0.021869489))));
    return sign(x) * select(large, small, a < vec4<f32>(0.25));
  }
`;

/**
 * Exact GELU, x Phi(x), to 2.5e-7 absolute. WGSL has no erf. With t = 1 - erf(|x| / sqrt 2) by two minimax polynomials (one below 1, one
 * above, through exp), x < 0 gives x t / 2 and x > 0 gives x - x t / 2: neither cancels.
 */
const gelu: Wgsl = wgsl`
  fn activate(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x) * 0.70710678, vec4<f32>(4.0));
    let s = a * a;
    let near = 1.0 - a * (1.1283791 + s * (-0.37612349 + s * (0.11280364 + s * (-0.026716385 + s * (0.0049232775 + s * -0.00056541054)))));
    let far = exp(-0.0014411532 + a * (-1.1228368 + a * (-0.64483202 + a * (-0.097637869 + a * (0.019386575 + a * (-0.0023767698 + a * 0.00013242541))))));
    // Beyond 4 the tail is below 2e-8; as 0 it stays below for any x.
    let t = select(select(far, near, a < vec4<f32>(1.0)), vec4<f32>(0.0), a >= vec4<f32>(4.0));
    let half = 0.5 * x * t;
    return select(half, x - half, x > vec4<f32>(0.0));
  }
`;

const rows = 1u;
const inner = 192u;
const columnGroups = 192u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> parts: array<vec4<f32>, 128>;
var<workgroup> pieces: array<vec3<f32>, 16>;

fn left(row: u32, k: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), vec4<f32>(a[row * steps + min(k / 4u, steps - 1u)]), k < steps * 4u);
}

fn row_scale(row: u32) -> f32 {
  var mean = 0.0;
  for (var i = 0u; i < 16u; i++) { mean += pieces[row * 16u + i].x * (pieces[row * 16u + i].z / 192.0); }
  var squares = 0.0;
  for (var i = 0u; i < 16u; i++) {
    let piece = pieces[row * 16u + i];
    squares += piece.y + piece.z * (piece.x - mean) * (piece.x - mean);
  }
  return inverseSqrt(squares / 192.0 + 9.999999974752427e-7);
}

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

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 1u || group * 4u >= 768u) { return; }
  var value = sum;
  value += bias[group];
  value = activate(value);
  let at = row * 192u + 0u + group;
  out[at] = vec4<f32>(value);
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>) {
  let slice = lane / 8u;
  let group = group_id.x * 8u + lane % 8u;
  let column = min(group, columnGroups - 1u);
  let firstRow = group_id.y * 1u;
  let row0 = min(firstRow + 0u, rows - 1u);
  var sum0 = vec4<f32>(0.0);
  var seen = 0.0;
  var mean0 = vec4<f32>(0.0); var squares0 = vec4<f32>(0.0);
  for (var step = slice; step < 48u; step += 16u) {
    let k = step * 4u;
    let a0 = left(row0, k);
    seen += 1.0;
    let off0 = a0 - mean0; mean0 += off0 / seen; squares0 += off0 * (a0 - mean0);
    let w0 = vec4<f32>(weight[(k + 0u) * columnGroups + column]);
    sum0 = fma(vec4<f32>(a0[0]), w0, sum0);
    let w1 = vec4<f32>(weight[(k + 1u) * columnGroups + column]);
    sum0 = fma(vec4<f32>(a0[1]), w1, sum0);
    let w2 = vec4<f32>(weight[(k + 2u) * columnGroups + column]);
    sum0 = fma(vec4<f32>(a0[2]), w2, sum0);
    let w3 = vec4<f32>(weight[(k + 3u) * columnGroups + column]);
    sum0 = fma(vec4<f32>(a0[3]), w3, sum0);
  }
  if (lane % 8u == 0u) {
    let mean = dot(mean0, vec4<f32>(0.25));
    let apart = mean0 - mean;
    pieces[0u + slice] = vec3<f32>(mean, dot(squares0, vec4<f32>(1.0)) + seen * dot(apart, apart), 4.0 * seen);
  }
  parts[0u + lane] = sum0;
  workgroupBarrier();
  if (slice > 0u) { return; }
  {
    var sum = sum0;
    for (var i = 1u; i < 16u; i++) { sum += parts[0u + lane + i * 8u]; }
    finish(firstRow + 0u, group, sum * row_scale(0u));
  }
}

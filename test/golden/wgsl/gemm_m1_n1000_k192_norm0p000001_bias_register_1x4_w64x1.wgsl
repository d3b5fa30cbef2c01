const rows = 1u;
const columnGroups = 250u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 1u || group * 4u >= 1000u) { return; }
  var value = sum;
  value += bias[group];
  let at = row * 250u + 0u + group;
  out[at] = vec4<f32>(value);
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let firstRow = id.y * 1u;
  let firstGroup = id.x * 1u;
  if (firstRow >= rows || firstGroup >= columnGroups) { return; }
  let row0 = min(firstRow + 0u, rows - 1u);
  let g0 = firstGroup;
  let base0 = row0 * steps;
  var sum0_0 = vec4<f32>(0.0);
  var seen = 0.0;
  var mean0 = vec4<f32>(0.0);
  var squares0 = vec4<f32>(0.0);
  var at = 0u;
  for (var k = 0u; k < steps; k++) {
    let a0 = vec4<f32>(a[base0 + k]);
    seen += 1.0;
    let share = 1.0 / seen;
    let off0 = a0 - mean0;
    mean0 += off0 * share;
    squares0 += off0 * (a0 - mean0);
    let w0_0 = vec4<f32>(weight[at + 0u * columnGroups + g0]);
    sum0_0 = fma(vec4<f32>(a0[0]), w0_0, sum0_0);
    let w1_0 = vec4<f32>(weight[at + 1u * columnGroups + g0]);
    sum0_0 = fma(vec4<f32>(a0[1]), w1_0, sum0_0);
    let w2_0 = vec4<f32>(weight[at + 2u * columnGroups + g0]);
    sum0_0 = fma(vec4<f32>(a0[2]), w2_0, sum0_0);
    let w3_0 = vec4<f32>(weight[at + 3u * columnGroups + g0]);
    sum0_0 = fma(vec4<f32>(a0[3]), w3_0, sum0_0);
    at += 4u * columnGroups;
  }
  let apart0 = mean0 - dot(mean0, vec4<f32>(0.25));
  let variance0 = (dot(squares0, vec4<f32>(1.0)) + 48.0 * dot(apart0, apart0)) / 192.0;
  let scale0 = inverseSqrt(variance0 + 9.999999974752427e-7);
  finish(firstRow + 0u, firstGroup + 0u, sum0_0 * scale0);
}

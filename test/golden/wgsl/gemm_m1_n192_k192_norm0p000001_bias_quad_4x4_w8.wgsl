enable subgroups;

const rows = 1u;
const columnGroups = 48u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 1u || group * 4u >= 192u) { return; }
  var value = sum;
  value += bias[group];
  let at = row * 48u + 0u + group;
  out[at] = vec4<f32>(value);
}

@compute @workgroup_size(8, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) subgroup_member: u32) {
  let member = subgroup_member & 3u;
  let firstRow = workgroup.y * 4u;
  let group = id.x;
  let row0 = min(firstRow + 0u + member, rows - 1u);
  let base0 = row0 * steps;
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  var seen = 0.0;
  var mean0 = vec4<f32>(0.0);
  var squares0 = vec4<f32>(0.0);
  var at = min(group, columnGroups - 1u);
  for (var k = 0u; k < steps; k++) {
    let a0 = vec4<f32>(a[base0 + k]);
    seen += 1.0;
    let share = 1.0 / seen;
    let off0 = a0 - mean0;
    mean0 += off0 * share;
    squares0 += off0 * (a0 - mean0);
    let w0 = vec4<f32>(weight[at + 0u * columnGroups]);
    let w1 = vec4<f32>(weight[at + 1u * columnGroups]);
    let w2 = vec4<f32>(weight[at + 2u * columnGroups]);
    let w3 = vec4<f32>(weight[at + 3u * columnGroups]);
    let given0 = a0;
    sum0 = fma(vec4<f32>(given0[3]), w3, fma(vec4<f32>(given0[2]), w2, fma(vec4<f32>(given0[1]), w1, fma(vec4<f32>(given0[0]), w0, sum0))));
    let given1 = quadSwapX(a0);
    sum1 = fma(vec4<f32>(given1[3]), w3, fma(vec4<f32>(given1[2]), w2, fma(vec4<f32>(given1[1]), w1, fma(vec4<f32>(given1[0]), w0, sum1))));
    let given2 = quadSwapY(a0);
    sum2 = fma(vec4<f32>(given2[3]), w3, fma(vec4<f32>(given2[2]), w2, fma(vec4<f32>(given2[1]), w1, fma(vec4<f32>(given2[0]), w0, sum2))));
    let given3 = quadSwapDiagonal(a0);
    sum3 = fma(vec4<f32>(given3[3]), w3, fma(vec4<f32>(given3[2]), w2, fma(vec4<f32>(given3[1]), w1, fma(vec4<f32>(given3[0]), w0, sum3))));
    at += 4u * columnGroups;
  }
  let apart0 = mean0 - dot(mean0, vec4<f32>(0.25));
  let variance0 = (dot(squares0, vec4<f32>(1.0)) + 48.0 * dot(apart0, apart0)) / 192.0;
  let scale0 = inverseSqrt(variance0 + 9.999999974752427e-7);
  var sums: array<vec4<f32>, 4u>;
  sums[0] = sum0 * scale0;
  sums[1] = sum1 * quadSwapX(scale0);
  sums[2] = sum2 * quadSwapY(scale0);
  sums[3] = sum3 * quadSwapDiagonal(scale0);
  for (var r = firstRow; r < firstRow + 4u; r++) {
    finish(r ^ member, group, sums[r - firstRow]);
  }
}

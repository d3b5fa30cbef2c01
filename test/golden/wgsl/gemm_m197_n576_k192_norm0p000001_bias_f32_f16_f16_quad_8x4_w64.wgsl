enable f16;
enable subgroups;

const rows = 197u;
const columnGroups = 144u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f16>>;

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 197u || group * 4u >= 576u) { return; }
  var value = sum;
  value += bias[group];
  value = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  let at = row * 144u + 0u + group;
  out[at] = vec4<f16>(value);
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) subgroup_member: u32) {
  let member = subgroup_member & 3u;
  let firstRow = workgroup.y * 8u;
  let group = id.x;
  let row0 = min(firstRow + 0u + member, rows - 1u);
  let row1 = min(firstRow + 4u + member, rows - 1u);
  let base0 = row0 * steps;
  let base1 = row1 * steps;
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  var sum4 = vec4<f32>(0.0);
  var sum5 = vec4<f32>(0.0);
  var sum6 = vec4<f32>(0.0);
  var sum7 = vec4<f32>(0.0);
  var seen = 0.0;
  var mean0 = vec4<f32>(0.0);
  var squares0 = vec4<f32>(0.0);
  var mean1 = vec4<f32>(0.0);
  var squares1 = vec4<f32>(0.0);
  var at = min(group, columnGroups - 1u);
  for (var k = 0u; k < steps; k++) {
    let a0 = vec4<f32>(a[base0 + k]);
    let a1 = vec4<f32>(a[base1 + k]);
    seen += 1.0;
    let share = 1.0 / seen;
    let off0 = a0 - mean0;
    mean0 += off0 * share;
    squares0 += off0 * (a0 - mean0);
    let off1 = a1 - mean1;
    mean1 += off1 * share;
    squares1 += off1 * (a1 - mean1);
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
    let given4 = a1;
    sum4 = fma(vec4<f32>(given4[3]), w3, fma(vec4<f32>(given4[2]), w2, fma(vec4<f32>(given4[1]), w1, fma(vec4<f32>(given4[0]), w0, sum4))));
    let given5 = quadSwapX(a1);
    sum5 = fma(vec4<f32>(given5[3]), w3, fma(vec4<f32>(given5[2]), w2, fma(vec4<f32>(given5[1]), w1, fma(vec4<f32>(given5[0]), w0, sum5))));
    let given6 = quadSwapY(a1);
    sum6 = fma(vec4<f32>(given6[3]), w3, fma(vec4<f32>(given6[2]), w2, fma(vec4<f32>(given6[1]), w1, fma(vec4<f32>(given6[0]), w0, sum6))));
    let given7 = quadSwapDiagonal(a1);
    sum7 = fma(vec4<f32>(given7[3]), w3, fma(vec4<f32>(given7[2]), w2, fma(vec4<f32>(given7[1]), w1, fma(vec4<f32>(given7[0]), w0, sum7))));
    at += 4u * columnGroups;
  }
  let apart0 = mean0 - dot(mean0, vec4<f32>(0.25));
  let variance0 = (dot(squares0, vec4<f32>(1.0)) + 48.0 * dot(apart0, apart0)) / 192.0;
  let scale0 = inverseSqrt(variance0 + 9.999999974752427e-7);
  let apart1 = mean1 - dot(mean1, vec4<f32>(0.25));
  let variance1 = (dot(squares1, vec4<f32>(1.0)) + 48.0 * dot(apart1, apart1)) / 192.0;
  let scale1 = inverseSqrt(variance1 + 9.999999974752427e-7);
  var sums: array<vec4<f32>, 8u>;
  sums[0] = sum0 * scale0;
  sums[1] = sum1 * quadSwapX(scale0);
  sums[2] = sum2 * quadSwapY(scale0);
  sums[3] = sum3 * quadSwapDiagonal(scale0);
  sums[4] = sum4 * scale1;
  sums[5] = sum5 * quadSwapX(scale1);
  sums[6] = sum6 * quadSwapY(scale1);
  sums[7] = sum7 * quadSwapDiagonal(scale1);
  for (var r = firstRow; r < firstRow + 8u; r++) {
    finish(r ^ member, group, sums[r - firstRow]);
  }
}

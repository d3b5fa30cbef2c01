enable subgroups;

const rows = 197u;
const columnGroups = 144u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 197u || group * 4u >= 576u) { return; }
  var value = sum;
  value += bias[group];
  let at = row * 144u + 0u + group;
  out[at] = vec4<f32>(value);
}

@compute @workgroup_size(8, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) subgroup_member: u32) {
  let member = subgroup_member & 3u;
  let firstRow = workgroup.y * 16u;
  let group = id.x;
  let row0 = min(firstRow + 0u + member, rows - 1u);
  let row1 = min(firstRow + 4u + member, rows - 1u);
  let row2 = min(firstRow + 8u + member, rows - 1u);
  let row3 = min(firstRow + 12u + member, rows - 1u);
  let base0 = row0 * steps;
  let base1 = row1 * steps;
  let base2 = row2 * steps;
  let base3 = row3 * steps;
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  var sum4 = vec4<f32>(0.0);
  var sum5 = vec4<f32>(0.0);
  var sum6 = vec4<f32>(0.0);
  var sum7 = vec4<f32>(0.0);
  var sum8 = vec4<f32>(0.0);
  var sum9 = vec4<f32>(0.0);
  var sum10 = vec4<f32>(0.0);
  var sum11 = vec4<f32>(0.0);
  var sum12 = vec4<f32>(0.0);
  var sum13 = vec4<f32>(0.0);
  var sum14 = vec4<f32>(0.0);
  var sum15 = vec4<f32>(0.0);

  var at = min(group, columnGroups - 1u);
  for (var k = 0u; k < steps; k++) {
    let a0 = vec4<f32>(a[base0 + k]);
    let a1 = vec4<f32>(a[base1 + k]);
    let a2 = vec4<f32>(a[base2 + k]);
    let a3 = vec4<f32>(a[base3 + k]);
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
    let given8 = a2;
    sum8 = fma(vec4<f32>(given8[3]), w3, fma(vec4<f32>(given8[2]), w2, fma(vec4<f32>(given8[1]), w1, fma(vec4<f32>(given8[0]), w0, sum8))));
    let given9 = quadSwapX(a2);
    sum9 = fma(vec4<f32>(given9[3]), w3, fma(vec4<f32>(given9[2]), w2, fma(vec4<f32>(given9[1]), w1, fma(vec4<f32>(given9[0]), w0, sum9))));
    let given10 = quadSwapY(a2);
    sum10 = fma(vec4<f32>(given10[3]), w3, fma(vec4<f32>(given10[2]), w2, fma(vec4<f32>(given10[1]), w1, fma(vec4<f32>(given10[0]), w0, sum10))));
    let given11 = quadSwapDiagonal(a2);
    sum11 = fma(vec4<f32>(given11[3]), w3, fma(vec4<f32>(given11[2]), w2, fma(vec4<f32>(given11[1]), w1, fma(vec4<f32>(given11[0]), w0, sum11))));
    let given12 = a3;
    sum12 = fma(vec4<f32>(given12[3]), w3, fma(vec4<f32>(given12[2]), w2, fma(vec4<f32>(given12[1]), w1, fma(vec4<f32>(given12[0]), w0, sum12))));
    let given13 = quadSwapX(a3);
    sum13 = fma(vec4<f32>(given13[3]), w3, fma(vec4<f32>(given13[2]), w2, fma(vec4<f32>(given13[1]), w1, fma(vec4<f32>(given13[0]), w0, sum13))));
    let given14 = quadSwapY(a3);
    sum14 = fma(vec4<f32>(given14[3]), w3, fma(vec4<f32>(given14[2]), w2, fma(vec4<f32>(given14[1]), w1, fma(vec4<f32>(given14[0]), w0, sum14))));
    let given15 = quadSwapDiagonal(a3);
    sum15 = fma(vec4<f32>(given15[3]), w3, fma(vec4<f32>(given15[2]), w2, fma(vec4<f32>(given15[1]), w1, fma(vec4<f32>(given15[0]), w0, sum15))));
    at += 4u * columnGroups;
  }
  let scale0 = statistics[2u * row0 + 1u];
  let scale1 = statistics[2u * row1 + 1u];
  let scale2 = statistics[2u * row2 + 1u];
  let scale3 = statistics[2u * row3 + 1u];
  var sums: array<vec4<f32>, 16u>;
  sums[0] = sum0 * scale0;
  sums[1] = sum1 * quadSwapX(scale0);
  sums[2] = sum2 * quadSwapY(scale0);
  sums[3] = sum3 * quadSwapDiagonal(scale0);
  sums[4] = sum4 * scale1;
  sums[5] = sum5 * quadSwapX(scale1);
  sums[6] = sum6 * quadSwapY(scale1);
  sums[7] = sum7 * quadSwapDiagonal(scale1);
  sums[8] = sum8 * scale2;
  sums[9] = sum9 * quadSwapX(scale2);
  sums[10] = sum10 * quadSwapY(scale2);
  sums[11] = sum11 * quadSwapDiagonal(scale2);
  sums[12] = sum12 * scale3;
  sums[13] = sum13 * quadSwapX(scale3);
  sums[14] = sum14 * quadSwapY(scale3);
  sums[15] = sum15 * quadSwapDiagonal(scale3);
  for (var r = firstRow; r < firstRow + 16u; r++) {
    finish(r ^ member, group, sums[r - firstRow]);
  }
}

const rows = 1u;
const columnGroups = 4u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 1u || group * 4u >= 10u) { return; }
  var value = sum;
  value += bias[group];
  for (var i = 0u; i < 4u; i++) {
    let col = group * 4u + i;
    if (col < 10u) {
      let at = row * 10u + 0u + col;
      out[at] = f32(value[i]);
    }
  }
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let firstRow = id.y * 8u;
  let firstGroup = id.x * 2u;
  if (firstRow >= rows || firstGroup >= columnGroups) { return; }
  let row0 = min(firstRow + 0u, rows - 1u);
  let row1 = min(firstRow + 1u, rows - 1u);
  let row2 = min(firstRow + 2u, rows - 1u);
  let row3 = min(firstRow + 3u, rows - 1u);
  let row4 = min(firstRow + 4u, rows - 1u);
  let row5 = min(firstRow + 5u, rows - 1u);
  let row6 = min(firstRow + 6u, rows - 1u);
  let row7 = min(firstRow + 7u, rows - 1u);
  let g0 = firstGroup;
  let g1 = firstGroup + 1u;
  let base0 = row0 * steps;
  let base1 = row1 * steps;
  let base2 = row2 * steps;
  let base3 = row3 * steps;
  let base4 = row4 * steps;
  let base5 = row5 * steps;
  let base6 = row6 * steps;
  let base7 = row7 * steps;
  var sum0_0 = vec4<f32>(0.0);
  var sum0_1 = vec4<f32>(0.0);
  var sum1_0 = vec4<f32>(0.0);
  var sum1_1 = vec4<f32>(0.0);
  var sum2_0 = vec4<f32>(0.0);
  var sum2_1 = vec4<f32>(0.0);
  var sum3_0 = vec4<f32>(0.0);
  var sum3_1 = vec4<f32>(0.0);
  var sum4_0 = vec4<f32>(0.0);
  var sum4_1 = vec4<f32>(0.0);
  var sum5_0 = vec4<f32>(0.0);
  var sum5_1 = vec4<f32>(0.0);
  var sum6_0 = vec4<f32>(0.0);
  var sum6_1 = vec4<f32>(0.0);
  var sum7_0 = vec4<f32>(0.0);
  var sum7_1 = vec4<f32>(0.0);

  var at = 0u;
  for (var k = 0u; k < steps; k++) {
    let a0 = vec4<f32>(a[base0 + k]);
    let a1 = vec4<f32>(a[base1 + k]);
    let a2 = vec4<f32>(a[base2 + k]);
    let a3 = vec4<f32>(a[base3 + k]);
    let a4 = vec4<f32>(a[base4 + k]);
    let a5 = vec4<f32>(a[base5 + k]);
    let a6 = vec4<f32>(a[base6 + k]);
    let a7 = vec4<f32>(a[base7 + k]);
    let w0_0 = vec4<f32>(weight[at + 0u * columnGroups + g0]);
    let w0_1 = vec4<f32>(weight[at + 0u * columnGroups + g1]);
    sum0_0 = fma(vec4<f32>(a0[0]), w0_0, sum0_0);
    sum0_1 = fma(vec4<f32>(a0[0]), w0_1, sum0_1);
    sum1_0 = fma(vec4<f32>(a1[0]), w0_0, sum1_0);
    sum1_1 = fma(vec4<f32>(a1[0]), w0_1, sum1_1);
    sum2_0 = fma(vec4<f32>(a2[0]), w0_0, sum2_0);
    sum2_1 = fma(vec4<f32>(a2[0]), w0_1, sum2_1);
    sum3_0 = fma(vec4<f32>(a3[0]), w0_0, sum3_0);
    sum3_1 = fma(vec4<f32>(a3[0]), w0_1, sum3_1);
    sum4_0 = fma(vec4<f32>(a4[0]), w0_0, sum4_0);
    sum4_1 = fma(vec4<f32>(a4[0]), w0_1, sum4_1);
    sum5_0 = fma(vec4<f32>(a5[0]), w0_0, sum5_0);
    sum5_1 = fma(vec4<f32>(a5[0]), w0_1, sum5_1);
    sum6_0 = fma(vec4<f32>(a6[0]), w0_0, sum6_0);
    sum6_1 = fma(vec4<f32>(a6[0]), w0_1, sum6_1);
    sum7_0 = fma(vec4<f32>(a7[0]), w0_0, sum7_0);
    sum7_1 = fma(vec4<f32>(a7[0]), w0_1, sum7_1);
    let w1_0 = vec4<f32>(weight[at + 1u * columnGroups + g0]);
    let w1_1 = vec4<f32>(weight[at + 1u * columnGroups + g1]);
    sum0_0 = fma(vec4<f32>(a0[1]), w1_0, sum0_0);
    sum0_1 = fma(vec4<f32>(a0[1]), w1_1, sum0_1);
    sum1_0 = fma(vec4<f32>(a1[1]), w1_0, sum1_0);
    sum1_1 = fma(vec4<f32>(a1[1]), w1_1, sum1_1);
    sum2_0 = fma(vec4<f32>(a2[1]), w1_0, sum2_0);
    sum2_1 = fma(vec4<f32>(a2[1]), w1_1, sum2_1);
    sum3_0 = fma(vec4<f32>(a3[1]), w1_0, sum3_0);
    sum3_1 = fma(vec4<f32>(a3[1]), w1_1, sum3_1);
    sum4_0 = fma(vec4<f32>(a4[1]), w1_0, sum4_0);
    sum4_1 = fma(vec4<f32>(a4[1]), w1_1, sum4_1);
    sum5_0 = fma(vec4<f32>(a5[1]), w1_0, sum5_0);
    sum5_1 = fma(vec4<f32>(a5[1]), w1_1, sum5_1);
    sum6_0 = fma(vec4<f32>(a6[1]), w1_0, sum6_0);
    sum6_1 = fma(vec4<f32>(a6[1]), w1_1, sum6_1);
    sum7_0 = fma(vec4<f32>(a7[1]), w1_0, sum7_0);
    sum7_1 = fma(vec4<f32>(a7[1]), w1_1, sum7_1);
    let w2_0 = vec4<f32>(weight[at + 2u * columnGroups + g0]);
    let w2_1 = vec4<f32>(weight[at + 2u * columnGroups + g1]);
    sum0_0 = fma(vec4<f32>(a0[2]), w2_0, sum0_0);
    sum0_1 = fma(vec4<f32>(a0[2]), w2_1, sum0_1);
    sum1_0 = fma(vec4<f32>(a1[2]), w2_0, sum1_0);
    sum1_1 = fma(vec4<f32>(a1[2]), w2_1, sum1_1);
    sum2_0 = fma(vec4<f32>(a2[2]), w2_0, sum2_0);
    sum2_1 = fma(vec4<f32>(a2[2]), w2_1, sum2_1);
    sum3_0 = fma(vec4<f32>(a3[2]), w2_0, sum3_0);
    sum3_1 = fma(vec4<f32>(a3[2]), w2_1, sum3_1);
    sum4_0 = fma(vec4<f32>(a4[2]), w2_0, sum4_0);
    sum4_1 = fma(vec4<f32>(a4[2]), w2_1, sum4_1);
    sum5_0 = fma(vec4<f32>(a5[2]), w2_0, sum5_0);
    sum5_1 = fma(vec4<f32>(a5[2]), w2_1, sum5_1);
    sum6_0 = fma(vec4<f32>(a6[2]), w2_0, sum6_0);
    sum6_1 = fma(vec4<f32>(a6[2]), w2_1, sum6_1);
    sum7_0 = fma(vec4<f32>(a7[2]), w2_0, sum7_0);
    sum7_1 = fma(vec4<f32>(a7[2]), w2_1, sum7_1);
    let w3_0 = vec4<f32>(weight[at + 3u * columnGroups + g0]);
    let w3_1 = vec4<f32>(weight[at + 3u * columnGroups + g1]);
    sum0_0 = fma(vec4<f32>(a0[3]), w3_0, sum0_0);
    sum0_1 = fma(vec4<f32>(a0[3]), w3_1, sum0_1);
    sum1_0 = fma(vec4<f32>(a1[3]), w3_0, sum1_0);
    sum1_1 = fma(vec4<f32>(a1[3]), w3_1, sum1_1);
    sum2_0 = fma(vec4<f32>(a2[3]), w3_0, sum2_0);
    sum2_1 = fma(vec4<f32>(a2[3]), w3_1, sum2_1);
    sum3_0 = fma(vec4<f32>(a3[3]), w3_0, sum3_0);
    sum3_1 = fma(vec4<f32>(a3[3]), w3_1, sum3_1);
    sum4_0 = fma(vec4<f32>(a4[3]), w3_0, sum4_0);
    sum4_1 = fma(vec4<f32>(a4[3]), w3_1, sum4_1);
    sum5_0 = fma(vec4<f32>(a5[3]), w3_0, sum5_0);
    sum5_1 = fma(vec4<f32>(a5[3]), w3_1, sum5_1);
    sum6_0 = fma(vec4<f32>(a6[3]), w3_0, sum6_0);
    sum6_1 = fma(vec4<f32>(a6[3]), w3_1, sum6_1);
    sum7_0 = fma(vec4<f32>(a7[3]), w3_0, sum7_0);
    sum7_1 = fma(vec4<f32>(a7[3]), w3_1, sum7_1);
    at += 4u * columnGroups;
  }

  finish(firstRow + 0u, firstGroup + 0u, sum0_0);
  finish(firstRow + 0u, firstGroup + 1u, sum0_1);
  finish(firstRow + 1u, firstGroup + 0u, sum1_0);
  finish(firstRow + 1u, firstGroup + 1u, sum1_1);
  finish(firstRow + 2u, firstGroup + 0u, sum2_0);
  finish(firstRow + 2u, firstGroup + 1u, sum2_1);
  finish(firstRow + 3u, firstGroup + 0u, sum3_0);
  finish(firstRow + 3u, firstGroup + 1u, sum3_1);
  finish(firstRow + 4u, firstGroup + 0u, sum4_0);
  finish(firstRow + 4u, firstGroup + 1u, sum4_1);
  finish(firstRow + 5u, firstGroup + 0u, sum5_0);
  finish(firstRow + 5u, firstGroup + 1u, sum5_1);
  finish(firstRow + 6u, firstGroup + 0u, sum6_0);
  finish(firstRow + 6u, firstGroup + 1u, sum6_1);
  finish(firstRow + 7u, firstGroup + 0u, sum7_0);
  finish(firstRow + 7u, firstGroup + 1u, sum7_1);
}

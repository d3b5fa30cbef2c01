const rows = 197u;
const columnGroups = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> addend: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 197u || group * 4u >= 192u) { return; }
  var value = sum;
  value = select(value, vec4<f32>(0.0), row % 197u < 1u);
  let at = row * 48u + 0u + group;
  out[at] = vec4<f32>(value + addend[row % 197u * 48u + 0u + group]);
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
  let window0 = max(row0 % 197u, 1u) - 1u;
  let y0 = window0 / 14u * 16u;
  let x0 = window0 % 14u * 16u;
  let base0 = row0 / 197u * 37632u + y0 * 56u + x0 / 4u;
  let window1 = max(row1 % 197u, 1u) - 1u;
  let y1 = window1 / 14u * 16u;
  let x1 = window1 % 14u * 16u;
  let base1 = row1 / 197u * 37632u + y1 * 56u + x1 / 4u;
  let window2 = max(row2 % 197u, 1u) - 1u;
  let y2 = window2 / 14u * 16u;
  let x2 = window2 % 14u * 16u;
  let base2 = row2 / 197u * 37632u + y2 * 56u + x2 / 4u;
  let window3 = max(row3 % 197u, 1u) - 1u;
  let y3 = window3 / 14u * 16u;
  let x3 = window3 % 14u * 16u;
  let base3 = row3 / 197u * 37632u + y3 * 56u + x3 / 4u;
  let window4 = max(row4 % 197u, 1u) - 1u;
  let y4 = window4 / 14u * 16u;
  let x4 = window4 % 14u * 16u;
  let base4 = row4 / 197u * 37632u + y4 * 56u + x4 / 4u;
  let window5 = max(row5 % 197u, 1u) - 1u;
  let y5 = window5 / 14u * 16u;
  let x5 = window5 % 14u * 16u;
  let base5 = row5 / 197u * 37632u + y5 * 56u + x5 / 4u;
  let window6 = max(row6 % 197u, 1u) - 1u;
  let y6 = window6 / 14u * 16u;
  let x6 = window6 % 14u * 16u;
  let base6 = row6 / 197u * 37632u + y6 * 56u + x6 / 4u;
  let window7 = max(row7 % 197u, 1u) - 1u;
  let y7 = window7 / 14u * 16u;
  let x7 = window7 % 14u * 16u;
  let base7 = row7 / 197u * 37632u + y7 * 56u + x7 / 4u;
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
  for (var c = 0u; c < 3u; c++) {
    for (var i = 0u; i < 16u; i++) {
      for (var j = 0u; j < 16u; j += 4u) {
        let offset = c * 12544u + i * 56u + j / 4u;
        let a0 = a[base0 + offset];
        let a1 = a[base1 + offset];
        let a2 = a[base2 + offset];
        let a3 = a[base3 + offset];
        let a4 = a[base4 + offset];
        let a5 = a[base5 + offset];
        let a6 = a[base6 + offset];
        let a7 = a[base7 + offset];
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
    }
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

const rows = 256u;
const columnGroups = 16u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn activate(x: vec4<f32>) -> vec4<f32> {
  return max(x, vec4<f32>(0.0));
}

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 256u || group * 4u >= 64u) { return; }
  var value = sum;
  value += bias[group];
  value = activate(value);
  let at = row * 16u + 0u + group;
  out[at] = vec4<f32>(value);
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
  let window0 = row0 % 256u;
  let y0 = window0 / 16u * 2u;
  let x0 = window0 % 16u * 2u;
  let base0 = row0 / 256u * 8192u + y0 * 256u + x0 * 8u;
  let window1 = row1 % 256u;
  let y1 = window1 / 16u * 2u;
  let x1 = window1 % 16u * 2u;
  let base1 = row1 / 256u * 8192u + y1 * 256u + x1 * 8u;
  let window2 = row2 % 256u;
  let y2 = window2 / 16u * 2u;
  let x2 = window2 % 16u * 2u;
  let base2 = row2 / 256u * 8192u + y2 * 256u + x2 * 8u;
  let window3 = row3 % 256u;
  let y3 = window3 / 16u * 2u;
  let x3 = window3 % 16u * 2u;
  let base3 = row3 / 256u * 8192u + y3 * 256u + x3 * 8u;
  let window4 = row4 % 256u;
  let y4 = window4 / 16u * 2u;
  let x4 = window4 % 16u * 2u;
  let base4 = row4 / 256u * 8192u + y4 * 256u + x4 * 8u;
  let window5 = row5 % 256u;
  let y5 = window5 / 16u * 2u;
  let x5 = window5 % 16u * 2u;
  let base5 = row5 / 256u * 8192u + y5 * 256u + x5 * 8u;
  let window6 = row6 % 256u;
  let y6 = window6 / 16u * 2u;
  let x6 = window6 % 16u * 2u;
  let base6 = row6 / 256u * 8192u + y6 * 256u + x6 * 8u;
  let window7 = row7 % 256u;
  let y7 = window7 / 16u * 2u;
  let x7 = window7 % 16u * 2u;
  let base7 = row7 / 256u * 8192u + y7 * 256u + x7 * 8u;
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
  for (var i = 0u; i < 3u; i++) {
    for (var j = 0u; j < 3u; j++) {
      for (var c = 0u; c < 8u; c++) {
        let offset = i * 256u + j * 8u + c;
        let inside0 = (y0 + i >= 1u) & (y0 + i < 33u) & (x0 + j >= 1u) & (x0 + j < 33u);
        let a0 = select(vec4<f32>(0.0), a[select(0u, base0 + offset - 264u, inside0)], inside0);
        let inside1 = (y1 + i >= 1u) & (y1 + i < 33u) & (x1 + j >= 1u) & (x1 + j < 33u);
        let a1 = select(vec4<f32>(0.0), a[select(0u, base1 + offset - 264u, inside1)], inside1);
        let inside2 = (y2 + i >= 1u) & (y2 + i < 33u) & (x2 + j >= 1u) & (x2 + j < 33u);
        let a2 = select(vec4<f32>(0.0), a[select(0u, base2 + offset - 264u, inside2)], inside2);
        let inside3 = (y3 + i >= 1u) & (y3 + i < 33u) & (x3 + j >= 1u) & (x3 + j < 33u);
        let a3 = select(vec4<f32>(0.0), a[select(0u, base3 + offset - 264u, inside3)], inside3);
        let inside4 = (y4 + i >= 1u) & (y4 + i < 33u) & (x4 + j >= 1u) & (x4 + j < 33u);
        let a4 = select(vec4<f32>(0.0), a[select(0u, base4 + offset - 264u, inside4)], inside4);
        let inside5 = (y5 + i >= 1u) & (y5 + i < 33u) & (x5 + j >= 1u) & (x5 + j < 33u);
        let a5 = select(vec4<f32>(0.0), a[select(0u, base5 + offset - 264u, inside5)], inside5);
        let inside6 = (y6 + i >= 1u) & (y6 + i < 33u) & (x6 + j >= 1u) & (x6 + j < 33u);
        let a6 = select(vec4<f32>(0.0), a[select(0u, base6 + offset - 264u, inside6)], inside6);
        let inside7 = (y7 + i >= 1u) & (y7 + i < 33u) & (x7 + j >= 1u) & (x7 + j < 33u);
        let a7 = select(vec4<f32>(0.0), a[select(0u, base7 + offset - 264u, inside7)], inside7);
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

enable subgroups;

const rows = 1024u;
const columnGroups = 8u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn activate(x: vec4<f32>) -> vec4<f32> {
  return max(x, vec4<f32>(0.0));
}

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 1024u || group * 4u >= 32u) { return; }
  var value = sum;
  value += bias[group];
  value = activate(value);
  let at = row * 8u + 0u + group;
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
  let window0 = row0 % 1024u;
  let y0 = window0 / 32u * 2u;
  let x0 = window0 % 32u * 2u;
  let base0 = row0 / 1024u * 12288u + y0 * 64u + x0 * 1u;
  let window1 = row1 % 1024u;
  let y1 = window1 / 32u * 2u;
  let x1 = window1 % 32u * 2u;
  let base1 = row1 / 1024u * 12288u + y1 * 64u + x1 * 1u;
  let window2 = row2 % 1024u;
  let y2 = window2 / 32u * 2u;
  let x2 = window2 % 32u * 2u;
  let base2 = row2 / 1024u * 12288u + y2 * 64u + x2 * 1u;
  let window3 = row3 % 1024u;
  let y3 = window3 / 32u * 2u;
  let x3 = window3 % 32u * 2u;
  let base3 = row3 / 1024u * 12288u + y3 * 64u + x3 * 1u;
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
  for (var c = 0u; c < 3u; c++) {
    for (var i = 0u; i < 3u; i++) {
      for (var j = 0u; j < 3u; j += 1u) {
        let offset = c * 4096u + i * 64u + j;
        let inside0 = (y0 + i >= 1u) & (y0 + i < 65u) & (x0 + j >= 1u) & (x0 + j < 65u);
        let a0 = select(0.0, a[select(0u, base0 + offset - 65u, inside0)], inside0);
        let inside1 = (y1 + i >= 1u) & (y1 + i < 65u) & (x1 + j >= 1u) & (x1 + j < 65u);
        let a1 = select(0.0, a[select(0u, base1 + offset - 65u, inside1)], inside1);
        let inside2 = (y2 + i >= 1u) & (y2 + i < 65u) & (x2 + j >= 1u) & (x2 + j < 65u);
        let a2 = select(0.0, a[select(0u, base2 + offset - 65u, inside2)], inside2);
        let inside3 = (y3 + i >= 1u) & (y3 + i < 65u) & (x3 + j >= 1u) & (x3 + j < 65u);
        let a3 = select(0.0, a[select(0u, base3 + offset - 65u, inside3)], inside3);
        let w0 = vec4<f32>(weight[at + 0u * columnGroups]);
        let given0 = a0;
        sum0 = fma(vec4<f32>(given0), w0, sum0);
        let given1 = quadSwapX(a0);
        sum1 = fma(vec4<f32>(given1), w0, sum1);
        let given2 = quadSwapY(a0);
        sum2 = fma(vec4<f32>(given2), w0, sum2);
        let given3 = quadSwapDiagonal(a0);
        sum3 = fma(vec4<f32>(given3), w0, sum3);
        let given4 = a1;
        sum4 = fma(vec4<f32>(given4), w0, sum4);
        let given5 = quadSwapX(a1);
        sum5 = fma(vec4<f32>(given5), w0, sum5);
        let given6 = quadSwapY(a1);
        sum6 = fma(vec4<f32>(given6), w0, sum6);
        let given7 = quadSwapDiagonal(a1);
        sum7 = fma(vec4<f32>(given7), w0, sum7);
        let given8 = a2;
        sum8 = fma(vec4<f32>(given8), w0, sum8);
        let given9 = quadSwapX(a2);
        sum9 = fma(vec4<f32>(given9), w0, sum9);
        let given10 = quadSwapY(a2);
        sum10 = fma(vec4<f32>(given10), w0, sum10);
        let given11 = quadSwapDiagonal(a2);
        sum11 = fma(vec4<f32>(given11), w0, sum11);
        let given12 = a3;
        sum12 = fma(vec4<f32>(given12), w0, sum12);
        let given13 = quadSwapX(a3);
        sum13 = fma(vec4<f32>(given13), w0, sum13);
        let given14 = quadSwapY(a3);
        sum14 = fma(vec4<f32>(given14), w0, sum14);
        let given15 = quadSwapDiagonal(a3);
        sum15 = fma(vec4<f32>(given15), w0, sum15);
        at += 1u * columnGroups;
      }
    }
  }

  var sums: array<vec4<f32>, 16u>;
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
  sums[4] = sum4;
  sums[5] = sum5;
  sums[6] = sum6;
  sums[7] = sum7;
  sums[8] = sum8;
  sums[9] = sum9;
  sums[10] = sum10;
  sums[11] = sum11;
  sums[12] = sum12;
  sums[13] = sum13;
  sums[14] = sum14;
  sums[15] = sum15;
  for (var r = firstRow; r < firstRow + 16u; r++) {
    finish(r ^ member, group, sums[r - firstRow]);
  }
}

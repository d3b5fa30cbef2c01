enable subgroups;

const tokens = 197u;
const queries = 197u;
const heads = 3u;
const headStride = 16u;
const qRowStride = 144u;
const rowStride = 144u;
const kOffset = 48u;
const vOffset = 96u;
const lowest = -1e30;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(8, 1, 1)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) subgroup_member: u32) {
  let pair = lane / 4u;
  let member = subgroup_member & 3u;
  let firstQuery = (workgroup.x * 2u + pair) * 8u;
  let head = workgroup.y;
  let image = workgroup.z;
  let first = image * tokens * rowStride + head * headStride;
  let q0 = (image * queries + min(firstQuery + 0u + member, queries - 1u)) * qRowStride + head * headStride;
  let q1 = (image * queries + min(firstQuery + 4u + member, queries - 1u)) * qRowStride + head * headStride;
  var scores: array<f32, 400u>;
  var largest0 = lowest;
  var largest1 = lowest;
  var largest2 = lowest;
  var largest3 = lowest;
  var largest4 = lowest;
  var largest5 = lowest;
  var largest6 = lowest;
  var largest7 = lowest;
  for (var tile = 0u; tile < 25u; tile++) {
    let key0 = tile * 8u + 0u + member;
    let k0 = first + min(key0, tokens - 1u) * rowStride + kOffset;
    let key1 = tile * 8u + 4u + member;
    let k1 = first + min(key1, tokens - 1u) * rowStride + kOffset;
    var score0_0 = 0.0;
    var score1_0 = 0.0;
    var score2_0 = 0.0;
    var score3_0 = 0.0;
    var score4_0 = 0.0;
    var score5_0 = 0.0;
    var score6_0 = 0.0;
    var score7_0 = 0.0;
    var score0_1 = 0.0;
    var score1_1 = 0.0;
    var score2_1 = 0.0;
    var score3_1 = 0.0;
    var score4_1 = 0.0;
    var score5_1 = 0.0;
    var score6_1 = 0.0;
    var score7_1 = 0.0;
    for (var d = 0u; d < headStride; d++) {
      let a0 = vec4<f32>(qkv[q0 + d]);
      let a1 = vec4<f32>(qkv[q1 + d]);
      let b0 = vec4<f32>(qkv[k0 + d]);
      let b1 = vec4<f32>(qkv[k1 + d]);
      let x0 = a0; score0_0 += dot(x0, b0); score0_1 += dot(x0, b1);
      let x1 = quadSwapX(a0); score1_0 += dot(x1, b0); score1_1 += dot(x1, b1);
      let x2 = quadSwapY(a0); score2_0 += dot(x2, b0); score2_1 += dot(x2, b1);
      let x3 = quadSwapDiagonal(a0); score3_0 += dot(x3, b0); score3_1 += dot(x3, b1);
      let x4 = a1; score4_0 += dot(x4, b0); score4_1 += dot(x4, b1);
      let x5 = quadSwapX(a1); score5_0 += dot(x5, b0); score5_1 += dot(x5, b1);
      let x6 = quadSwapY(a1); score6_0 += dot(x6, b0); score6_1 += dot(x6, b1);
      let x7 = quadSwapDiagonal(a1); score7_0 += dot(x7, b0); score7_1 += dot(x7, b1);
    }
    if (key0 >= tokens) { score0_0 = lowest; score1_0 = lowest; score2_0 = lowest; score3_0 = lowest; score4_0 = lowest; score5_0 = lowest; score6_0 = lowest; score7_0 = lowest; }
    if (key1 >= tokens) { score0_1 = lowest; score1_1 = lowest; score2_1 = lowest; score3_1 = lowest; score4_1 = lowest; score5_1 = lowest; score6_1 = lowest; score7_1 = lowest; }
    scores[(tile * 2u + 0u) * 8u + 0u] = score0_0;
    scores[(tile * 2u + 0u) * 8u + 1u] = score1_0;
    scores[(tile * 2u + 0u) * 8u + 2u] = score2_0;
    scores[(tile * 2u + 0u) * 8u + 3u] = score3_0;
    scores[(tile * 2u + 0u) * 8u + 4u] = score4_0;
    scores[(tile * 2u + 0u) * 8u + 5u] = score5_0;
    scores[(tile * 2u + 0u) * 8u + 6u] = score6_0;
    scores[(tile * 2u + 0u) * 8u + 7u] = score7_0;
    scores[(tile * 2u + 1u) * 8u + 0u] = score0_1;
    scores[(tile * 2u + 1u) * 8u + 1u] = score1_1;
    scores[(tile * 2u + 1u) * 8u + 2u] = score2_1;
    scores[(tile * 2u + 1u) * 8u + 3u] = score3_1;
    scores[(tile * 2u + 1u) * 8u + 4u] = score4_1;
    scores[(tile * 2u + 1u) * 8u + 5u] = score5_1;
    scores[(tile * 2u + 1u) * 8u + 6u] = score6_1;
    scores[(tile * 2u + 1u) * 8u + 7u] = score7_1;
    largest0 = max(max(largest0, score0_0), score0_1);
    largest1 = max(max(largest1, score1_0), score1_1);
    largest2 = max(max(largest2, score2_0), score2_1);
    largest3 = max(max(largest3, score3_0), score3_1);
    largest4 = max(max(largest4, score4_0), score4_1);
    largest5 = max(max(largest5, score5_0), score5_1);
    largest6 = max(max(largest6, score6_0), score6_1);
    largest7 = max(max(largest7, score7_0), score7_1);
  }
  let top0 = max(max(max(largest0, quadSwapX(largest1)), quadSwapY(largest2)), quadSwapDiagonal(largest3));
  let top1 = max(max(max(largest1, quadSwapX(largest0)), quadSwapY(largest3)), quadSwapDiagonal(largest2));
  let top2 = max(max(max(largest2, quadSwapX(largest3)), quadSwapY(largest0)), quadSwapDiagonal(largest1));
  let top3 = max(max(max(largest3, quadSwapX(largest2)), quadSwapY(largest1)), quadSwapDiagonal(largest0));
  let top4 = max(max(max(largest4, quadSwapX(largest5)), quadSwapY(largest6)), quadSwapDiagonal(largest7));
  let top5 = max(max(max(largest5, quadSwapX(largest4)), quadSwapY(largest7)), quadSwapDiagonal(largest6));
  let top6 = max(max(max(largest6, quadSwapX(largest7)), quadSwapY(largest4)), quadSwapDiagonal(largest5));
  let top7 = max(max(max(largest7, quadSwapX(largest6)), quadSwapY(largest5)), quadSwapDiagonal(largest4));
  var part0 = 0.0;
  var part1 = 0.0;
  var part2 = 0.0;
  var part3 = 0.0;
  var part4 = 0.0;
  var part5 = 0.0;
  var part6 = 0.0;
  var part7 = 0.0;
  for (var t = 0u; t < 50u; t++) {
    let e0 = exp((scores[t * 8u + 0u] - top0)); scores[t * 8u + 0u] = e0; part0 += e0;
    let e1 = exp((scores[t * 8u + 1u] - top1)); scores[t * 8u + 1u] = e1; part1 += e1;
    let e2 = exp((scores[t * 8u + 2u] - top2)); scores[t * 8u + 2u] = e2; part2 += e2;
    let e3 = exp((scores[t * 8u + 3u] - top3)); scores[t * 8u + 3u] = e3; part3 += e3;
    let e4 = exp((scores[t * 8u + 4u] - top4)); scores[t * 8u + 4u] = e4; part4 += e4;
    let e5 = exp((scores[t * 8u + 5u] - top5)); scores[t * 8u + 5u] = e5; part5 += e5;
    let e6 = exp((scores[t * 8u + 6u] - top6)); scores[t * 8u + 6u] = e6; part6 += e6;
    let e7 = exp((scores[t * 8u + 7u] - top7)); scores[t * 8u + 7u] = e7; part7 += e7;
  }
  let total0 = part0 + quadSwapX(part1) + quadSwapY(part2) + quadSwapDiagonal(part3);
  let total1 = part1 + quadSwapX(part0) + quadSwapY(part3) + quadSwapDiagonal(part2);
  let total2 = part2 + quadSwapX(part3) + quadSwapY(part0) + quadSwapDiagonal(part1);
  let total3 = part3 + quadSwapX(part2) + quadSwapY(part1) + quadSwapDiagonal(part0);
  let total4 = part4 + quadSwapX(part5) + quadSwapY(part6) + quadSwapDiagonal(part7);
  let total5 = part5 + quadSwapX(part4) + quadSwapY(part7) + quadSwapDiagonal(part6);
  let total6 = part6 + quadSwapX(part7) + quadSwapY(part4) + quadSwapDiagonal(part5);
  let total7 = part7 + quadSwapX(part6) + quadSwapY(part5) + quadSwapDiagonal(part4);
  for (var chunk = 0u; chunk < 4u; chunk++) {
    let column = chunk * 4u + member;
    let read = column;
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var sum2 = vec4<f32>(0.0);
    var sum3 = vec4<f32>(0.0);
    var sum4 = vec4<f32>(0.0);
    var sum5 = vec4<f32>(0.0);
    var sum6 = vec4<f32>(0.0);
    var sum7 = vec4<f32>(0.0);
    for (var t = 0u; t < 50u; t++) {
      let p0 = scores[t * 8u + 0u];
      let p1 = scores[t * 8u + 1u];
      let p2 = scores[t * 8u + 2u];
      let p3 = scores[t * 8u + 3u];
      let p4 = scores[t * 8u + 4u];
      let p5 = scores[t * 8u + 5u];
      let p6 = scores[t * 8u + 6u];
      let p7 = scores[t * 8u + 7u];
      let v0 = vec4<f32>(qkv[first + min(t * 4u + (member ^ 0u), tokens - 1u) * rowStride + vOffset + read]);
      let v1 = vec4<f32>(qkv[first + min(t * 4u + (member ^ 1u), tokens - 1u) * rowStride + vOffset + read]);
      let v2 = vec4<f32>(qkv[first + min(t * 4u + (member ^ 2u), tokens - 1u) * rowStride + vOffset + read]);
      let v3 = vec4<f32>(qkv[first + min(t * 4u + (member ^ 3u), tokens - 1u) * rowStride + vOffset + read]);
      sum0 += p0 * v0 + quadSwapX(p1) * v1 + quadSwapY(p2) * v2 + quadSwapDiagonal(p3) * v3;
      sum1 += p1 * v0 + quadSwapX(p0) * v1 + quadSwapY(p3) * v2 + quadSwapDiagonal(p2) * v3;
      sum2 += p2 * v0 + quadSwapX(p3) * v1 + quadSwapY(p0) * v2 + quadSwapDiagonal(p1) * v3;
      sum3 += p3 * v0 + quadSwapX(p2) * v1 + quadSwapY(p1) * v2 + quadSwapDiagonal(p0) * v3;
      sum4 += p4 * v0 + quadSwapX(p5) * v1 + quadSwapY(p6) * v2 + quadSwapDiagonal(p7) * v3;
      sum5 += p5 * v0 + quadSwapX(p4) * v1 + quadSwapY(p7) * v2 + quadSwapDiagonal(p6) * v3;
      sum6 += p6 * v0 + quadSwapX(p7) * v1 + quadSwapY(p4) * v2 + quadSwapDiagonal(p5) * v3;
      sum7 += p7 * v0 + quadSwapX(p6) * v1 + quadSwapY(p5) * v2 + quadSwapDiagonal(p4) * v3;
    }
    var results: array<vec4<f32>, 8u>;
    results[0] = sum0 / total0;
    results[1] = sum1 / total1;
    results[2] = sum2 / total2;
    results[3] = sum3 / total3;
    results[4] = sum4 / total4;
    results[5] = sum5 / total5;
    results[6] = sum6 / total6;
    results[7] = sum7 / total7;
    for (var at = firstQuery; at < firstQuery + 8u; at++) {
      let query = at ^ member;
      if ((query < queries)) { out[((image * queries + query) * heads + head) * headStride + column] = vec4<f32>(results[at - firstQuery]); }
    }
  }
}

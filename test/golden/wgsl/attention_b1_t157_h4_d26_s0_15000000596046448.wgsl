const tokens = 157u;
const heads = 4u;
const headStride = 26u;
const kOffset = 104u;
const rowStride = 312u;
const lowest = -1e30;

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let index = id.y * groups.x * 64u + id.x;
  if (index >= 628u) { return; }
  let query = index % tokens;
  let head = index / tokens % heads;
  let image = index / (tokens * heads);
  let first = image * tokens * rowStride + head * headStride;
  let queryAt = first + query * rowStride;
  var q0: vec4<f32>;
  var q1: vec4<f32>;
  var q2: vec4<f32>;
  var q3: vec4<f32>;
  var q4: vec4<f32>;
  var q5: vec4<f32>;
  var q6: vec4<f32>;
  q0 = vec4<f32>(qkv[queryAt + 0u], qkv[queryAt + 1u], qkv[queryAt + 2u], qkv[queryAt + 3u]) * 0.15000000596046448;
  q1 = vec4<f32>(qkv[queryAt + 4u], qkv[queryAt + 5u], qkv[queryAt + 6u], qkv[queryAt + 7u]) * 0.15000000596046448;
  q2 = vec4<f32>(qkv[queryAt + 8u], qkv[queryAt + 9u], qkv[queryAt + 10u], qkv[queryAt + 11u]) * 0.15000000596046448;
  q3 = vec4<f32>(qkv[queryAt + 12u], qkv[queryAt + 13u], qkv[queryAt + 14u], qkv[queryAt + 15u]) * 0.15000000596046448;
  q4 = vec4<f32>(qkv[queryAt + 16u], qkv[queryAt + 17u], qkv[queryAt + 18u], qkv[queryAt + 19u]) * 0.15000000596046448;
  q5 = vec4<f32>(qkv[queryAt + 20u], qkv[queryAt + 21u], qkv[queryAt + 22u], qkv[queryAt + 23u]) * 0.15000000596046448;
  q6 = vec4<f32>(qkv[queryAt + 24u], qkv[queryAt + 25u], 0.0, 0.0) * 0.15000000596046448;
  var sum0: vec4<f32>;
  var sum1: vec4<f32>;
  var sum2: vec4<f32>;
  var sum3: vec4<f32>;
  var sum4: vec4<f32>;
  var sum5: vec4<f32>;
  var sum6: vec4<f32>;
  sum0 = vec4<f32>(0.0);
  sum1 = vec4<f32>(0.0);
  sum2 = vec4<f32>(0.0);
  sum3 = vec4<f32>(0.0);
  sum4 = vec4<f32>(0.0);
  sum5 = vec4<f32>(0.0);
  sum6 = vec4<f32>(0.0);
  var largest = lowest;
  var total = 0.0;
  for (var key = 0u; key < tokens; key += 4u) {
    let k0 = first + key * rowStride + kOffset;
    let k1 = first + min(key + 1u, tokens - 1u) * rowStride + kOffset;
    let k2 = first + min(key + 2u, tokens - 1u) * rowStride + kOffset;
    let k3 = first + min(key + 3u, tokens - 1u) * rowStride + kOffset;
    var score = vec4<f32>(0.0);
    score[0] += dot(q0, vec4<f32>(qkv[k0 + 0u], qkv[k0 + 1u], qkv[k0 + 2u], qkv[k0 + 3u]));
    score[1] += dot(q0, vec4<f32>(qkv[k1 + 0u], qkv[k1 + 1u], qkv[k1 + 2u], qkv[k1 + 3u]));
    score[2] += dot(q0, vec4<f32>(qkv[k2 + 0u], qkv[k2 + 1u], qkv[k2 + 2u], qkv[k2 + 3u]));
    score[3] += dot(q0, vec4<f32>(qkv[k3 + 0u], qkv[k3 + 1u], qkv[k3 + 2u], qkv[k3 + 3u]));
    score[0] += dot(q1, vec4<f32>(qkv[k0 + 4u], qkv[k0 + 5u], qkv[k0 + 6u], qkv[k0 + 7u]));
    score[1] += dot(q1, vec4<f32>(qkv[k1 + 4u], qkv[k1 + 5u], qkv[k1 + 6u], qkv[k1 + 7u]));
    score[2] += dot(q1, vec4<f32>(qkv[k2 + 4u], qkv[k2 + 5u], qkv[k2 + 6u], qkv[k2 + 7u]));
    score[3] += dot(q1, vec4<f32>(qkv[k3 + 4u], qkv[k3 + 5u], qkv[k3 + 6u], qkv[k3 + 7u]));
    score[0] += dot(q2, vec4<f32>(qkv[k0 + 8u], qkv[k0 + 9u], qkv[k0 + 10u], qkv[k0 + 11u]));
    score[1] += dot(q2, vec4<f32>(qkv[k1 + 8u], qkv[k1 + 9u], qkv[k1 + 10u], qkv[k1 + 11u]));
    score[2] += dot(q2, vec4<f32>(qkv[k2 + 8u], qkv[k2 + 9u], qkv[k2 + 10u], qkv[k2 + 11u]));
    score[3] += dot(q2, vec4<f32>(qkv[k3 + 8u], qkv[k3 + 9u], qkv[k3 + 10u], qkv[k3 + 11u]));
    score[0] += dot(q3, vec4<f32>(qkv[k0 + 12u], qkv[k0 + 13u], qkv[k0 + 14u], qkv[k0 + 15u]));
    score[1] += dot(q3, vec4<f32>(qkv[k1 + 12u], qkv[k1 + 13u], qkv[k1 + 14u], qkv[k1 + 15u]));
    score[2] += dot(q3, vec4<f32>(qkv[k2 + 12u], qkv[k2 + 13u], qkv[k2 + 14u], qkv[k2 + 15u]));
    score[3] += dot(q3, vec4<f32>(qkv[k3 + 12u], qkv[k3 + 13u], qkv[k3 + 14u], qkv[k3 + 15u]));
    score[0] += dot(q4, vec4<f32>(qkv[k0 + 16u], qkv[k0 + 17u], qkv[k0 + 18u], qkv[k0 + 19u]));
    score[1] += dot(q4, vec4<f32>(qkv[k1 + 16u], qkv[k1 + 17u], qkv[k1 + 18u], qkv[k1 + 19u]));
    score[2] += dot(q4, vec4<f32>(qkv[k2 + 16u], qkv[k2 + 17u], qkv[k2 + 18u], qkv[k2 + 19u]));
    score[3] += dot(q4, vec4<f32>(qkv[k3 + 16u], qkv[k3 + 17u], qkv[k3 + 18u], qkv[k3 + 19u]));
    score[0] += dot(q5, vec4<f32>(qkv[k0 + 20u], qkv[k0 + 21u], qkv[k0 + 22u], qkv[k0 + 23u]));
    score[1] += dot(q5, vec4<f32>(qkv[k1 + 20u], qkv[k1 + 21u], qkv[k1 + 22u], qkv[k1 + 23u]));
    score[2] += dot(q5, vec4<f32>(qkv[k2 + 20u], qkv[k2 + 21u], qkv[k2 + 22u], qkv[k2 + 23u]));
    score[3] += dot(q5, vec4<f32>(qkv[k3 + 20u], qkv[k3 + 21u], qkv[k3 + 22u], qkv[k3 + 23u]));
    score[0] += dot(q6, vec4<f32>(qkv[k0 + 24u], qkv[k0 + 25u], 0.0, 0.0));
    score[1] += dot(q6, vec4<f32>(qkv[k1 + 24u], qkv[k1 + 25u], 0.0, 0.0));
    score[2] += dot(q6, vec4<f32>(qkv[k2 + 24u], qkv[k2 + 25u], 0.0, 0.0));
    score[3] += dot(q6, vec4<f32>(qkv[k3 + 24u], qkv[k3 + 25u], 0.0, 0.0));
    if (key + 1u >= tokens) { score[1] = lowest; }
    if (key + 2u >= tokens) { score[2] = lowest; }
    if (key + 3u >= tokens) { score[3] = lowest; }
    let next = max(largest, max(max(score.x, score.y), max(score.z, score.w)));
    let keep = exp(largest - next);
    let weight = exp(score - next);
    largest = next;
    total = total * keep + (weight.x + weight.y + weight.z + weight.w);
    let v0 = k0 + kOffset;
    let v1 = k1 + kOffset;
    let v2 = k2 + kOffset;
    let v3 = k3 + kOffset;
    sum0 = sum0 * keep + weight[0] * vec4<f32>(qkv[v0 + 0u], qkv[v0 + 1u], qkv[v0 + 2u], qkv[v0 + 3u]) + weight[1] * vec4<f32>(qkv[v1 + 0u], qkv[v1 + 1u], qkv[v1 + 2u], qkv[v1 + 3u]) + weight[2] * vec4<f32>(qkv[v2 + 0u], qkv[v2 + 1u], qkv[v2 + 2u], qkv[v2 + 3u]) + weight[3] * vec4<f32>(qkv[v3 + 0u], qkv[v3 + 1u], qkv[v3 + 2u], qkv[v3 + 3u]);
    sum1 = sum1 * keep + weight[0] * vec4<f32>(qkv[v0 + 4u], qkv[v0 + 5u], qkv[v0 + 6u], qkv[v0 + 7u]) + weight[1] * vec4<f32>(qkv[v1 + 4u], qkv[v1 + 5u], qkv[v1 + 6u], qkv[v1 + 7u]) + weight[2] * vec4<f32>(qkv[v2 + 4u], qkv[v2 + 5u], qkv[v2 + 6u], qkv[v2 + 7u]) + weight[3] * vec4<f32>(qkv[v3 + 4u], qkv[v3 + 5u], qkv[v3 + 6u], qkv[v3 + 7u]);
    sum2 = sum2 * keep + weight[0] * vec4<f32>(qkv[v0 + 8u], qkv[v0 + 9u], qkv[v0 + 10u], qkv[v0 + 11u]) + weight[1] * vec4<f32>(qkv[v1 + 8u], qkv[v1 + 9u], qkv[v1 + 10u], qkv[v1 + 11u]) + weight[2] * vec4<f32>(qkv[v2 + 8u], qkv[v2 + 9u], qkv[v2 + 10u], qkv[v2 + 11u]) + weight[3] * vec4<f32>(qkv[v3 + 8u], qkv[v3 + 9u], qkv[v3 + 10u], qkv[v3 + 11u]);
    sum3 = sum3 * keep + weight[0] * vec4<f32>(qkv[v0 + 12u], qkv[v0 + 13u], qkv[v0 + 14u], qkv[v0 + 15u]) + weight[1] * vec4<f32>(qkv[v1 + 12u], qkv[v1 + 13u], qkv[v1 + 14u], qkv[v1 + 15u]) + weight[2] * vec4<f32>(qkv[v2 + 12u], qkv[v2 + 13u], qkv[v2 + 14u], qkv[v2 + 15u]) + weight[3] * vec4<f32>(qkv[v3 + 12u], qkv[v3 + 13u], qkv[v3 + 14u], qkv[v3 + 15u]);
    sum4 = sum4 * keep + weight[0] * vec4<f32>(qkv[v0 + 16u], qkv[v0 + 17u], qkv[v0 + 18u], qkv[v0 + 19u]) + weight[1] * vec4<f32>(qkv[v1 + 16u], qkv[v1 + 17u], qkv[v1 + 18u], qkv[v1 + 19u]) + weight[2] * vec4<f32>(qkv[v2 + 16u], qkv[v2 + 17u], qkv[v2 + 18u], qkv[v2 + 19u]) + weight[3] * vec4<f32>(qkv[v3 + 16u], qkv[v3 + 17u], qkv[v3 + 18u], qkv[v3 + 19u]);
    sum5 = sum5 * keep + weight[0] * vec4<f32>(qkv[v0 + 20u], qkv[v0 + 21u], qkv[v0 + 22u], qkv[v0 + 23u]) + weight[1] * vec4<f32>(qkv[v1 + 20u], qkv[v1 + 21u], qkv[v1 + 22u], qkv[v1 + 23u]) + weight[2] * vec4<f32>(qkv[v2 + 20u], qkv[v2 + 21u], qkv[v2 + 22u], qkv[v2 + 23u]) + weight[3] * vec4<f32>(qkv[v3 + 20u], qkv[v3 + 21u], qkv[v3 + 22u], qkv[v3 + 23u]);
    sum6 = sum6 * keep + weight[0] * vec4<f32>(qkv[v0 + 24u], qkv[v0 + 25u], 0.0, 0.0) + weight[1] * vec4<f32>(qkv[v1 + 24u], qkv[v1 + 25u], 0.0, 0.0) + weight[2] * vec4<f32>(qkv[v2 + 24u], qkv[v2 + 25u], 0.0, 0.0) + weight[3] * vec4<f32>(qkv[v3 + 24u], qkv[v3 + 25u], 0.0, 0.0);
  }
  let outAt = ((image * tokens + query) * heads + head) * headStride;
  {
    let part = sum0 / total;
    out[outAt + 0u] = part[0];
    out[outAt + 1u] = part[1];
    out[outAt + 2u] = part[2];
    out[outAt + 3u] = part[3];
  }
  {
    let part = sum1 / total;
    out[outAt + 4u] = part[0];
    out[outAt + 5u] = part[1];
    out[outAt + 6u] = part[2];
    out[outAt + 7u] = part[3];
  }
  {
    let part = sum2 / total;
    out[outAt + 8u] = part[0];
    out[outAt + 9u] = part[1];
    out[outAt + 10u] = part[2];
    out[outAt + 11u] = part[3];
  }
  {
    let part = sum3 / total;
    out[outAt + 12u] = part[0];
    out[outAt + 13u] = part[1];
    out[outAt + 14u] = part[2];
    out[outAt + 15u] = part[3];
  }
  {
    let part = sum4 / total;
    out[outAt + 16u] = part[0];
    out[outAt + 17u] = part[1];
    out[outAt + 18u] = part[2];
    out[outAt + 19u] = part[3];
  }
  {
    let part = sum5 / total;
    out[outAt + 20u] = part[0];
    out[outAt + 21u] = part[1];
    out[outAt + 22u] = part[2];
    out[outAt + 23u] = part[3];
  }
  {
    let part = sum6 / total;
    out[outAt + 24u] = part[0];
    out[outAt + 25u] = part[1];
  }
}

enable f16;

const tokens = 197u;
const queries = 197u;
const heads = 3u;
const headStride = 16u;
const qRowStride = 144u;
const rowStride = 144u;
const kOffset = 48u;
const vOffset = 96u;
const lowest = -1e30;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f16>>;
var<workgroup> block_q: array<vec4<f32>, 272>;
var<workgroup> block_k: array<vec4<f32>, 272>;
var<workgroup> block_v: array<vec4<f32>, 272>;
var<workgroup> scores: array<f32, 272>;

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = lane / 8u;
  let part = lane % 8u;
  let head = group_id.y;
  let image = group_id.z;
  let query = group_id.x * 16u + row;
  let first = image * tokens * rowStride + head * headStride;
  for (var i = lane; i < 256u; i += 128u) {
    let at = (image * queries + min(group_id.x * 16u + i / 16u, queries - 1u)) * qRowStride + head * headStride;
    block_q[i / 16u * 17u + i % 16u] = vec4<f32>(qkv[at + i % 16u]);
  }
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var largest = lowest;
  var total = 0.0;
  for (var tile = 0u; tile < tokens; tile += 16u) {
    for (var i = lane; i < 256u; i += 128u) {
      let at = first + min(tile + i / 16u, tokens - 1u) * rowStride + i % 16u;
      let to = i / 16u * 17u + i % 16u;
      block_k[to] = vec4<f32>(qkv[at + kOffset]);
      block_v[to] = vec4<f32>(qkv[at + vOffset]);
    }
    workgroupBarrier();
    {
      let key = part + 0u;
      var value = 0.0;
      for (var d = 0u; d < headStride; d++) { value += dot(block_q[row * 17u + d], block_k[key * 17u + d]); }
      scores[row * 17u + key] = select(lowest, value, tile + key < tokens);
    }
    {
      let key = part + 8u;
      var value = 0.0;
      for (var d = 0u; d < headStride; d++) { value += dot(block_q[row * 17u + d], block_k[key * 17u + d]); }
      scores[row * 17u + key] = select(lowest, value, tile + key < tokens);
    }
    workgroupBarrier();
    var next = largest;
    for (var k = 0u; k < 16u; k++) { next = max(next, scores[row * 17u + k]); }
    let keep = exp(largest - next);
    largest = next;
    workgroupBarrier();
    scores[row * 17u + part + 0u] = exp(scores[row * 17u + part + 0u] - largest);
    scores[row * 17u + part + 8u] = exp(scores[row * 17u + part + 8u] - largest);
    workgroupBarrier();
    total *= keep;
    sum0 *= keep;
    sum1 *= keep;
    for (var k = 0u; k < 16u; k++) {
      let weight = scores[row * 17u + k];
      total += weight;
      sum0 = fma(vec4<f32>(weight), block_v[k * 17u + part + 0u], sum0);
      sum1 = fma(vec4<f32>(weight), block_v[k * 17u + part + 8u], sum1);
    }
    workgroupBarrier();
  }
  if (query < queries) {
    let at = ((image * queries + query) * heads + head) * headStride + part;
    out[at + 0u] = vec4<f16>(sum0 / total);
    out[at + 8u] = vec4<f16>(sum1 / total);
  }
}

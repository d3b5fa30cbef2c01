const tokens = 197u;
const queries = 1u;
const heads = 3u;
const headStride = 16u;
const qRowStride = 48u;
const rowStride = 96u;
const kOffset = 0u;
const vOffset = 48u;
const lowest = -1e30;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> block_q: array<vec4<f32>, 68>;
var<workgroup> block_k: array<vec4<f32>, 272>;
var<workgroup> block_v: array<vec4<f32>, 272>;
var<workgroup> scores: array<f32, 68>;

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = lane / 32u;
  let part = lane % 32u;
  let head = group_id.y;
  let image = group_id.z;
  let query = group_id.x * 4u + row;
  let first = image * tokens * rowStride + head * headStride;
  for (var i = lane; i < 64u; i += 128u) {
    let at = (image * queries + min(group_id.x * 4u + i / 16u, queries - 1u)) * qRowStride + head * headStride;
    block_q[i / 16u * 17u + i % 16u] = vec4<f32>(q[at + i % 16u]);
  }
  var sum0 = vec4<f32>(0.0);
  var largest = lowest;
  var total = 0.0;
  for (var tile = 0u; tile < tokens; tile += 16u) {
    for (var i = lane; i < 256u; i += 128u) {
      let at = first + min(tile + i / 16u, tokens - 1u) * rowStride + i % 16u;
      let to = i / 16u * 17u + i % 16u;
      block_k[to] = vec4<f32>(kv[at + kOffset]);
      block_v[to] = vec4<f32>(kv[at + vOffset]);
    }
    workgroupBarrier();
    if (part + 0u < 16u) {
      {
        let key = part + 0u;
        var value = 0.0;
        for (var d = 0u; d < headStride; d++) { value += dot(block_q[row * 17u + d], block_k[key * 17u + d]); }
        scores[row * 17u + key] = select(lowest, value, tile + key < tokens);
      }
    }
    workgroupBarrier();
    var next = largest;
    for (var k = 0u; k < 16u; k++) { next = max(next, scores[row * 17u + k]); }
    let keep = exp(largest - next);
    largest = next;
    workgroupBarrier();
    if (part + 0u < 16u) {
      scores[row * 17u + part + 0u] = exp(scores[row * 17u + part + 0u] - largest);
    }
    workgroupBarrier();
    total *= keep;
    sum0 *= keep;
    for (var k = 0u; k < 16u; k++) {
      let weight = scores[row * 17u + k];
      total += weight;
      sum0 = fma(vec4<f32>(weight), block_v[k * 17u + min(part + 0u, 15u)], sum0);
    }
    workgroupBarrier();
  }
  if (query < queries) {
    let at = ((image * queries + query) * heads + head) * headStride + part;
    if (part + 0u < 16u) {
      out[at + 0u] = vec4<f32>(sum0 / total);
    }
  }
}

const rows = 256u;
const inner = 576u;
const depth = 8u;
const columnGroups = 24u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> block_a: array<f32, 1152>;
var<workgroup> block_w: array<vec4<f32>, 256>;
var<workgroup> parts: array<vec4<f32>, 256>;

fn left(row_: u32, first: u32) -> vec4<f32> {
  let k = min(first, 572u);
  let window_ = row_ % 256u;
  let y_ = window_ / 16u * 1u;
  let x_ = window_ % 16u * 1u;
  let base_ = row_ / 256u * 4096u + y_ * 256u + x_ * 16u;
  let i = k / 192u;
  let j = k % 192u / 64u;
  let c = k % 64u / 4u;
  let offset = i * 256u + j * 16u + c;
  let inside_ = (y_ + i >= 1u) & (y_ + i < 17u) & (x_ + j >= 1u) & (x_ + j < 17u);
  let a_ = select(vec4<f32>(0.0), a[select(0u, base_ + offset - 272u, inside_)], inside_);
  return select(vec4<f32>(0.0), a_, first < 576u);
}

fn activate(x: vec4<f32>) -> vec4<f32> {
  return max(x, vec4<f32>(0.0));
}

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 256u || group * 4u >= 96u) { return; }
  var value = sum;
  value += bias[group];
  value = activate(value);
  let at = row * 24u + 0u + group;
  out[at] = vec4<f32>(value);
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>) {
  let slice = lane / 64u;
  let worker = lane % 64u;
  let down = worker / 8u;
  let right = worker % 8u;
  let firstRow = group_id.y * 32u;
  let firstGroup = group_id.x * 8u;
  var sum0_0 = vec4<f32>(0.0);
  var sum1_0 = vec4<f32>(0.0);
  var sum2_0 = vec4<f32>(0.0);
  var sum3_0 = vec4<f32>(0.0);

  for (var step = 0u; step < 18u; step++) {
    let first = (slice * 18u + step) * depth;
    {
      let piece = worker;
      let row = piece / 2u;
      let k = piece % 2u * 4u;
      let value = left(min(firstRow + row, rows - 1u), first + k);
      block_a[(slice * depth + k + 0u) * 36u + row] = value[0];
      block_a[(slice * depth + k + 1u) * 36u + row] = value[1];
      block_a[(slice * depth + k + 2u) * 36u + row] = value[2];
      block_a[(slice * depth + k + 3u) * 36u + row] = value[3];

    }
    {
      let piece = worker;
      let k = piece / 8u;
      let group = piece % 8u;
      block_w[(slice * depth + k) * 8u + group] = vec4<f32>(weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)]);
    }
    workgroupBarrier();
    for (var k = slice * depth; k < slice * depth + depth; k++) {
      let a0 = vec4<f32>(block_a[k * 36u + down * 4u + 0u], block_a[k * 36u + down * 4u + 1u], block_a[k * 36u + down * 4u + 2u], block_a[k * 36u + down * 4u + 3u]);
      let w0 = block_w[k * 8u + right * 1u + 0u];
      sum0_0 = fma(vec4<f32>(a0[0]), w0, sum0_0);
      sum1_0 = fma(vec4<f32>(a0[1]), w0, sum1_0);
      sum2_0 = fma(vec4<f32>(a0[2]), w0, sum2_0);
      sum3_0 = fma(vec4<f32>(a0[3]), w0, sum3_0);
    }
    workgroupBarrier();
  }

  if (slice == 1u) {
    parts[0u * 64u + worker] = sum0_0;
    parts[1u * 64u + worker] = sum1_0;
    parts[2u * 64u + worker] = sum2_0;
    parts[3u * 64u + worker] = sum3_0;
  }
  workgroupBarrier();
  if (slice == 0u) {
    sum0_0 += parts[0u * 64u + worker];
    sum1_0 += parts[1u * 64u + worker];
    sum2_0 += parts[2u * 64u + worker];
    sum3_0 += parts[3u * 64u + worker];
  }
  workgroupBarrier();
  if (slice == 2u) {
    parts[0u * 64u + worker] = sum0_0;
    parts[1u * 64u + worker] = sum1_0;
    parts[2u * 64u + worker] = sum2_0;
    parts[3u * 64u + worker] = sum3_0;
  }
  workgroupBarrier();
  if (slice == 0u) {
    sum0_0 += parts[0u * 64u + worker];
    sum1_0 += parts[1u * 64u + worker];
    sum2_0 += parts[2u * 64u + worker];
    sum3_0 += parts[3u * 64u + worker];
  }
  workgroupBarrier();
  if (slice == 3u) {
    parts[0u * 64u + worker] = sum0_0;
    parts[1u * 64u + worker] = sum1_0;
    parts[2u * 64u + worker] = sum2_0;
    parts[3u * 64u + worker] = sum3_0;
  }
  workgroupBarrier();
  if (slice == 0u) {
    sum0_0 += parts[0u * 64u + worker];
    sum1_0 += parts[1u * 64u + worker];
    sum2_0 += parts[2u * 64u + worker];
    sum3_0 += parts[3u * 64u + worker];
  }
  workgroupBarrier();
  if (slice > 0u) { return; }
  finish(firstRow + down * 4u + 0u, firstGroup + right * 1u + 0u, sum0_0);
  finish(firstRow + down * 4u + 1u, firstGroup + right * 1u + 0u, sum1_0);
  finish(firstRow + down * 4u + 2u, firstGroup + right * 1u + 0u, sum2_0);
  finish(firstRow + down * 4u + 3u, firstGroup + right * 1u + 0u, sum3_0);
}

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const rows = 197u;
const inner = 768u;
const columnGroups = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> addend: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> block_a: array<f16, 1280>;
var<workgroup> block_w: array<f16, 2304>;
var<workgroup> drained: array<f32, 1024>;

fn left(row_: u32, first: u32) -> vec4<f32> {
  let k = min(first, 764u);
  let window_ = max(row_ % 197u, 1u) - 1u;
  let y_ = window_ / 14u * 16u;
  let x_ = window_ % 14u * 16u;
  let base_ = row_ / 197u * 37632u + y_ * 56u + x_ / 4u;
  let c = k / 256u;
  let i = k % 256u / 16u;
  let j = k % 16u;
  let offset = c * 12544u + i * 56u + j / 4u;
  let a_ = a[base_ + offset];
  return select(vec4<f32>(0.0), a_, first < 768u);
}

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 197u || group * 4u >= 192u) { return; }
  var value = sum;
  value = select(value, vec4<f32>(0.0), row % 197u < 1u);
  let at = row * 48u + 0u + group;
  out[at] = vec4<f32>(value + addend[row % 197u * 48u + 0u + group]);
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>, @builtin(subgroup_id) subgroup_index: u32, @builtin(subgroup_invocation_id) subgroup_member: u32) {
  let subgroup = subgroup_index;
  let member = subgroup_member;
  let subRow = subgroup / 4u * 32u;
  let subColumn = subgroup % 4u * 16u;
  let firstRow = group_id.y * 32u;
  let firstGroup = group_id.x * 16u;
  var sum0: subgroup_matrix_result<f32, 16, 16>;
  var sum1: subgroup_matrix_result<f32, 16, 16>;
  for (var first = 0u; first < inner; first += 32u) {
    {
      let piece = lane + 0u;
      let row = piece / 8u;
      let k = piece % 8u * 4u;
      let source_row = min(firstRow + row, rows - 1u);
      let value = left(source_row, first + k);
      let half = vec4<f16>(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
      block_a[row * 40u + k + 0u] = half[0];
      block_a[row * 40u + k + 1u] = half[1];
      block_a[row * 40u + k + 2u] = half[2];
      block_a[row * 40u + k + 3u] = half[3];
    }
    {
      let piece = lane + 128u;
      let row = piece / 8u;
      let k = piece % 8u * 4u;
      let source_row = min(firstRow + row, rows - 1u);
      let value = left(source_row, first + k);
      let half = vec4<f16>(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
      block_a[row * 40u + k + 0u] = half[0];
      block_a[row * 40u + k + 1u] = half[1];
      block_a[row * 40u + k + 2u] = half[2];
      block_a[row * 40u + k + 3u] = half[3];
    }
    {
      let piece = lane + 0u;
      let k = piece / 16u;
      let group = piece % 16u;
      let value = weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)];
      block_w[k * 72u + group * 4u + 0u] = value[0];
      block_w[k * 72u + group * 4u + 1u] = value[1];
      block_w[k * 72u + group * 4u + 2u] = value[2];
      block_w[k * 72u + group * 4u + 3u] = value[3];
    }
    {
      let piece = lane + 128u;
      let k = piece / 16u;
      let group = piece % 16u;
      let value = weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)];
      block_w[k * 72u + group * 4u + 0u] = value[0];
      block_w[k * 72u + group * 4u + 1u] = value[1];
      block_w[k * 72u + group * 4u + 2u] = value[2];
      block_w[k * 72u + group * 4u + 3u] = value[3];
    }
    {
      let piece = lane + 256u;
      let k = piece / 16u;
      let group = piece % 16u;
      let value = weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)];
      block_w[k * 72u + group * 4u + 0u] = value[0];
      block_w[k * 72u + group * 4u + 1u] = value[1];
      block_w[k * 72u + group * 4u + 2u] = value[2];
      block_w[k * 72u + group * 4u + 3u] = value[3];
    }
    {
      let piece = lane + 384u;
      let k = piece / 16u;
      let group = piece % 16u;
      let value = weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)];
      block_w[k * 72u + group * 4u + 0u] = value[0];
      block_w[k * 72u + group * 4u + 1u] = value[1];
      block_w[k * 72u + group * 4u + 2u] = value[2];
      block_w[k * 72u + group * 4u + 3u] = value[3];
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k += 16u) {
      let right0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&block_w, k * 72u + subColumn + 0u, 72u);
      let left0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&block_a, (subRow + 0u) * 40u + k, 40u);
      sum0 = subgroupMatrixMultiplyAccumulate(left0, right0, sum0);
      let left1 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&block_a, (subRow + 16u) * 40u + k, 40u);
      sum1 = subgroupMatrixMultiplyAccumulate(left1, right0, sum1);
    }
    workgroupBarrier();
  }
  subgroupMatrixStore<row_major>(&drained, subgroup * 256u, sum0, 16u);
  workgroupBarrier();
  for (var i = member; i < 64u; i += 32u) {
    let row = subRow + 0u + i / 4u;
    let at = subgroup * 256u + i * 4u;
    finish(firstRow + row, firstGroup + (subColumn + 0u) / 4u + i % 4u, vec4<f32>(drained[at], drained[at + 1u], drained[at + 2u], drained[at + 3u]));
  }
  workgroupBarrier();
  subgroupMatrixStore<row_major>(&drained, subgroup * 256u, sum1, 16u);
  workgroupBarrier();
  for (var i = member; i < 64u; i += 32u) {
    let row = subRow + 16u + i / 4u;
    let at = subgroup * 256u + i * 4u;
    finish(firstRow + row, firstGroup + (subColumn + 0u) / 4u + i % 4u, vec4<f32>(drained[at], drained[at + 1u], drained[at + 2u], drained[at + 3u]));
  }
  workgroupBarrier();
}

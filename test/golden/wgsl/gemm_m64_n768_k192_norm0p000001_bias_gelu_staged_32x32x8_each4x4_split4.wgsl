const rows = 64u;
const inner = 192u;
const depth = 8u;
const columnGroups = 192u;
const steps = 48u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> block_a: array<f32, 1152>;
var<workgroup> block_w: array<vec4<f32>, 256>;
var<workgroup> parts: array<vec4<f32>, 256>;

fn left(row: u32, k: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), vec4<f32>(a[row * steps + min(k / 4u, steps - 1u)]), k < steps * 4u);
}

fn row_scale(row: u32) -> f32 {
  var mean = 0.0;
  for (var i = 0u; i < 8u; i++) {
    let part = parts[i / 2u * 64u + row * 2u + i % 2u];
    mean += part.x * (part.z / 192.0);
  }
  var squares = 0.0;
  for (var i = 0u; i < 8u; i++) {
    let part = parts[i / 2u * 64u + row * 2u + i % 2u];
    squares += part.y + part.z * (part.x - mean) * (part.x - mean);
  }
  return inverseSqrt(squares / 192.0 + 9.999999974752427e-7);
}

fn activate(x: vec4<f32>) -> vec4<f32> {
  let a = min(abs(x) * 0.70710678, vec4<f32>(4.0));
  let s = a * a;
  let near = 1.0 - a * (1.1283791 + s * (-0.37612349 + s * (0.11280364 + s * (-0.026716385 + s * (0.0049232775 + s * -0.00056541054)))));
  let far = exp(-0.0014411532 + a * (-1.1228368 + a * (-0.64483202 + a * (-0.097637869 + a * (0.019386575 + a * (-0.0023767698 + a * 0.00013242541))))));
  // Beyond 4 the tail is below 2e-8; as 0 it stays below for any x.
  let t = select(select(far, near, a < vec4<f32>(1.0)), vec4<f32>(0.0), a >= vec4<f32>(4.0));
  let half = 0.5 * x * t;
  return select(half, x - half, x > vec4<f32>(0.0));
}

fn finish(row: u32, group: u32, sum: vec4<f32>) {
  if (row >= 64u || group * 4u >= 768u) { return; }
  var value = sum;
  value += bias[group];
  value = activate(value);
  let at = row * 192u + 0u + group;
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
  var mean0 = vec4<f32>(0.0); var squares0 = vec4<f32>(0.0); var seen0 = 0.0;
  for (var step = 0u; step < 6u; step++) {
    let first = (slice * 6u + step) * depth;
    {
      let piece = worker;
      let row = piece / 2u;
      let k = piece % 2u * 4u;
      let value = left(min(firstRow + row, rows - 1u), first + k);
      block_a[(slice * depth + k + 0u) * 36u + row] = value[0];
      block_a[(slice * depth + k + 1u) * 36u + row] = value[1];
      block_a[(slice * depth + k + 2u) * 36u + row] = value[2];
      block_a[(slice * depth + k + 3u) * 36u + row] = value[3];
      if (first + k < inner) {
        seen0 += 1.0;
        let off = value - mean0;
        mean0 += off / seen0;
        squares0 += off * (value - mean0);
      }
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
  {
    let mean = dot(mean0, vec4<f32>(0.25));
    let apart = mean0 - mean;
    let squares = dot(squares0, vec4<f32>(1.0)) + seen0 * dot(apart, apart);
    parts[slice * 64u + worker + 0u] = vec4<f32>(mean, squares, 4.0 * seen0, 0.0);
  }
  workgroupBarrier();
  let scale0 = row_scale(down * 4u + 0u);
  let scale1 = row_scale(down * 4u + 1u);
  let scale2 = row_scale(down * 4u + 2u);
  let scale3 = row_scale(down * 4u + 3u);
  workgroupBarrier();
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
  finish(firstRow + down * 4u + 0u, firstGroup + right * 1u + 0u, sum0_0 * scale0);
  finish(firstRow + down * 4u + 1u, firstGroup + right * 1u + 0u, sum1_0 * scale1);
  finish(firstRow + down * 4u + 2u, firstGroup + right * 1u + 0u, sum2_0 * scale2);
  finish(firstRow + down * 4u + 3u, firstGroup + right * 1u + 0u, sum3_0 * scale3);
}

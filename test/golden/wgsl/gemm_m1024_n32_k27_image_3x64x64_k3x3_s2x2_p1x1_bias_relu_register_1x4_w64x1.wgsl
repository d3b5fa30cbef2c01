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

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let firstRow = id.y * 1u;
  let firstGroup = id.x * 1u;
  if (firstRow >= rows || firstGroup >= columnGroups) { return; }
  let row0 = min(firstRow + 0u, rows - 1u);
  let g0 = firstGroup;
  let window0 = row0 % 1024u;
  let y0 = window0 / 32u * 2u;
  let x0 = window0 % 32u * 2u;
  let base0 = row0 / 1024u * 12288u + y0 * 64u + x0 * 1u;
  var sum0_0 = vec4<f32>(0.0);

  var at = 0u;
  for (var c = 0u; c < 3u; c++) {
    for (var i = 0u; i < 3u; i++) {
      for (var j = 0u; j < 3u; j += 1u) {
        let offset = c * 4096u + i * 64u + j;
        let inside0 = (y0 + i >= 1u) & (y0 + i < 65u) & (x0 + j >= 1u) & (x0 + j < 65u);
        let a0 = select(0.0, a[select(0u, base0 + offset - 65u, inside0)], inside0);
        let w0_0 = vec4<f32>(weight[at + 0u * columnGroups + g0]);
        sum0_0 = fma(vec4<f32>(a0), w0_0, sum0_0);
        at += 1u * columnGroups;
      }
    }
  }

  finish(firstRow + 0u, firstGroup + 0u, sum0_0);
}

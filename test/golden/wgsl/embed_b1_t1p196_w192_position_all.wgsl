const units = 48u;

@group(0) @binding(0) var<storage, read> patches: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> prefix0: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> position: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let index = id.y * groups.x * 64u + id.x;
  if (index >= 9456u) { return; }
  let column = index % units;
  let token = index / units % 197u;
  let image = index / (units * 197u);
  var value = patches[(image * 196u + max(token, 1u) - 1u) * units + column];
  if (token == 0u) { value = prefix0[column]; }
  value += position[token * units + column];
  out[index] = value;
}

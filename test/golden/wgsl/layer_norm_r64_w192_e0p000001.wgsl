const units = 48u;
const width = 192.0;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let index = id.y * groups.x * 16u + id.x;
  if (index >= 64u) { return; }
  let first = index * units;
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < units; i++) { sum += x[first + i]; }
  let mean = dot(sum, vec4<f32>(1.0)) / width;
  var squares = vec4<f32>(0.0);
  for (var i = 0u; i < units; i++) {
    let centred = x[first + i] - mean;
    squares += centred * centred;
  }
  let rstd = inverseSqrt(dot(squares, vec4<f32>(1.0)) / width + 9.999999974752427e-7);
  for (var i = 0u; i < units; i++) {
    out[index * units + i] = (x[first + i] - mean) * rstd * scale[i] + bias[i];
  }
}

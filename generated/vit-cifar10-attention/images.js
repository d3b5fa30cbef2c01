/** WGSL that prepares photographs on the device. */
export const imageKernels = {
    rows: {
        id: "image_rows_bytes",
        workgroupSize: [8, 8, 1],
        code: /* wgsl */ `
struct Params {
  columns: u32,
  rows: u32,
  width: u32,
  stride: u32,
  room: u32,
  luma: u32,
  factor: f32,
  swapped: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> taps: array<i32>;
@group(0) @binding(3) var<storage, read_write> strip: array<u32>;

fn byte(at: u32) -> u32 {
  return (source[at / 4u] >> (at % 4u * 8u)) & 255u;
}

fn pixel(index: u32) -> vec3<u32> {
  let at = index * params.stride;
  if (params.stride == 1u) { return vec3<u32>(byte(at)); }
  var rgb = vec3<u32>(byte(at), byte(at + 1u), byte(at + 2u));
  if (params.swapped != 0u) { rgb = rgb.zyx; }
  // Pillow's convert("L").
  if (params.luma != 0u) { return vec3<u32>((rgb.x * 19595u + rgb.y * 38470u + rgb.z * 7471u + 32768u) >> 16u); }
  return rgb;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns || id.y >= params.rows) { return; }
  let row = id.y * params.width;
  let tap = id.x * (params.room + 2u);
  let first = u32(taps[tap]);
  let count = u32(taps[tap + 1u]);
  var sum = vec3<i32>(2097152);
  for (var i = 0u; i < count; i++) {
    sum += vec3<i32>(pixel(row + first + i)) * taps[tap + 2u + i];
  }
  let bytes = vec3<u32>(clamp(sum >> vec3<u32>(22u), vec3<i32>(0), vec3<i32>(255)));
  strip[id.y * params.columns + id.x] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u);
}
`,
    },
    columns: {
        id: "image_columns_bytes",
        workgroupSize: [8, 8, 1],
        code: /* wgsl */ `
struct Params {
  width: u32,
  height: u32,
  channels: u32,
  offset: u32,
  left: u32,
  top: u32,
  areaWidth: u32,
  areaHeight: u32,
  room: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> strip: array<u32>;
@group(0) @binding(2) var<storage, read> taps: array<i32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

fn pixel(index: u32) -> vec3<u32> {
  return (vec3<u32>(strip[index]) >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.width || id.y >= params.height) { return; }
  let at = params.offset + id.y * params.width + id.x;
  let plane = params.width * params.height;
  // Left of the area and above it these wrap round, and are beyond it too.
  let x = id.x - params.left;
  let y = id.y - params.top;
  if (x >= params.areaWidth || y >= params.areaHeight) {
    for (var c = 0u; c < params.channels; c++) { out[at + c * plane] = values[params.channels * 256u + c]; }
    return;
  }
  let tap = y * (params.room + 2u);
  let first = u32(taps[tap]);
  let count = u32(taps[tap + 1u]);
  var sum = vec3<i32>(2097152);
  for (var i = 0u; i < count; i++) {
    sum += vec3<i32>(pixel((first + i) * params.areaWidth + x)) * taps[tap + 2u + i];
  }
  let bytes = vec3<u32>(clamp(sum >> vec3<u32>(22u), vec3<i32>(0), vec3<i32>(255)));
  for (var c = 0u; c < params.channels; c++) {
    out[at + c * plane] = values[c * 256u + bytes[c]];
  }
}
`,
    },
};

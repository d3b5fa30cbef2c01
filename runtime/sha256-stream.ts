/** SHA-256 of bytes that come in parts, which `crypto.subtle` does not do (FIPS 180-4). */

/** The first 32 bits behind the point of a root of each of the first primes, by which the standard has its constants. */
function rootsOfPrimes(count: number, exponent: number): Int32Array {
  const roots = new Int32Array(count);
  for (let n = 2, found = 0; found < count; n++) {
    let divisor = 2;
    while (n % divisor !== 0) divisor++;
    if (divisor === n) roots[found++] = ((n ** exponent) % 1) * 2 ** 32;
  }
  return roots;
}

const constants = rootsOfPrimes(64, 1 / 3);

/** A hash under way. */
export class Sha256 {
  private readonly state = rootsOfPrimes(8, 1 / 2);
  private readonly block = new Uint8Array(64);
  private readonly schedule = new Int32Array(64);
  private length = 0;

  /** Takes the bytes that come next. */
  update(bytes: Uint8Array): void {
    let at = 0;
    const filled = this.length % 64;
    this.length += bytes.length;
    if (filled > 0) {
      at = Math.min(64 - filled, bytes.length);
      this.block.set(bytes.subarray(0, at), filled);
      if (filled + at < 64) return;
      this.compress(this.block, 0);
    }
    for (; at + 64 <= bytes.length; at += 64) this.compress(bytes, at);
    this.block.set(bytes.subarray(at));
  }

  /** The hash of all that came. Nothing may come afterwards. */
  digest(): Uint8Array<ArrayBuffer> {
    const bits = this.length * 8;
    // One bit, zeros, and the length in 8 bytes, to the end of a block.
    const padding = new Uint8Array(9 + ((119 - (this.length % 64)) % 64));
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits >>> 0);
    this.update(padding);
    const digest = new DataView(new ArrayBuffer(32));
    this.state.forEach((word, i) => digest.setInt32(4 * i, word));
    return new Uint8Array(digest.buffer);
  }

  private compress(bytes: Uint8Array, at: number): void {
    const { schedule: w, state } = this;
    for (let i = 0; i < 16; i++, at += 4) w[i] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!;
      const y = w[i - 2]!;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (((w[i - 16]! + s0) | 0) + ((w[i - 7]! + s1) | 0)) | 0;
    }
    // One by one: taking the list apart goes through its iterator, and halves the speed.
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    let f = state[5]!;
    let g = state[6]!;
    let h = state[7]!;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (((h + s1) | 0) + ((((e & f) ^ (~e & g)) + ((constants[i]! + w[i]!) | 0)) | 0)) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
    state[4]! += e;
    state[5]! += f;
    state[6]! += g;
    state[7]! += h;
  }
}

/**
 * Uniform numbers in [0, 1) from a seed and a name, so that what one tensor or node draws does not depend on the order of the others.
 * sfc32 (Chris Doty-Humphrey's PractRand), seeded by FNV-1a of the name; the same numbers on every platform.
 */
export function seededRandom(seed: number, name: string): () => number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  let [a, b, c, counter] = [seed | 0, Math.floor(seed / 2 ** 32) | 0, hash, 1];
  const next = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return (t >>> 0) / 2 ** 32;
  };
  // The first outputs still show the seed.
  for (let i = 0; i < 16; i++) next();
  return next;
}

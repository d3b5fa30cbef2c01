/** Version of the compiler, as in package.json (a test holds them together). Part of every fingerprint. */
export const version = "0.1.0";

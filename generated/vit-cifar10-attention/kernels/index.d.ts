/** WGSL by kernel id. */
export declare const kernels: Readonly<Record<string, string>>;

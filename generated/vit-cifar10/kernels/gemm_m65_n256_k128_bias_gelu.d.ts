export declare const gemm_m65_n256_k128_bias_gelu: string;

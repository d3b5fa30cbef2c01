export declare const gemm_m65_n128_k256_bias_residual: string;

export declare const gemm_m65_n128_k128_bias_residual: string;

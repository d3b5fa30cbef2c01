export declare const gemm_m650_n128_k128_bias_residual: string;

export declare const gemm_m650_n128_k256_bias_residual: string;

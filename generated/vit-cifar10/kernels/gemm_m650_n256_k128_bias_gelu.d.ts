export declare const gemm_m650_n256_k128_bias_gelu: string;

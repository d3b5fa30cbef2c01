export declare const gemm_m10_n10_k128_bias: string;

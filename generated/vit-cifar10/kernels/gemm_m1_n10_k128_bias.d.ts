export declare const gemm_m1_n10_k128_bias: string;

export declare const gemm_m65_n384_k128_bias: string;

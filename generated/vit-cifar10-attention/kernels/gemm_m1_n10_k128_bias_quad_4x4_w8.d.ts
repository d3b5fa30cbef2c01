export declare const gemm_m1_n10_k128_bias_quad_4x4_w8: string;

export declare const gemm_m650_n384_k128_bias: string;

export declare const gemm_m197_n576_k192_bias: string;

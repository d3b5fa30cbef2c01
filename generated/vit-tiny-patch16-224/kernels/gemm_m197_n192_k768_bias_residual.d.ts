export declare const gemm_m197_n192_k768_bias_residual: string;

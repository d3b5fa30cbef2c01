export declare const gemm_m197_n192_k192_bias_residual: string;

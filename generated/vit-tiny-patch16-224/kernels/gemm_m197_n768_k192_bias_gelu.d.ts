export declare const gemm_m197_n768_k192_bias_gelu: string;

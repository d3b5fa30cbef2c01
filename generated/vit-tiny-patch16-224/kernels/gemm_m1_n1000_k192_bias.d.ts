export declare const gemm_m1_n1000_k192_bias: string;

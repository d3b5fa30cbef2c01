export declare const layer_norm_r650_w128_e0_000001: string;

export declare const layer_norm_r65_w128_e0_000001: string;

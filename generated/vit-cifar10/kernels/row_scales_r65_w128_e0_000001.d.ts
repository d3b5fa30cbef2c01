export declare const row_scales_r65_w128_e0_000001: string;

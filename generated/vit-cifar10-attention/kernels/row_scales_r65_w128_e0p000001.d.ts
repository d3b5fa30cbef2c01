export declare const row_scales_r65_w128_e0p000001: string;

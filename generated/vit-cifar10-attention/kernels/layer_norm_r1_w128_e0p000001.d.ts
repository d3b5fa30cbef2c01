export declare const layer_norm_r1_w128_e0p000001: string;

export declare const row_scales_r197_w192_e0p000001: string;

export declare const row_scales_r197_w192_e0_000001: string;

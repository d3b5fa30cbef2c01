export declare const layer_norm_r197_w192_e0_000001: string;

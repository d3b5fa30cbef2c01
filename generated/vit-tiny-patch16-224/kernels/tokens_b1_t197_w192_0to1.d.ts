export declare const tokens_b1_t197_w192_0to1: string;

export declare const tokens_b1_t65_w128_0to1: string;

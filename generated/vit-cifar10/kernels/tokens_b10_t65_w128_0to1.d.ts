export declare const tokens_b10_t65_w128_0to1: string;

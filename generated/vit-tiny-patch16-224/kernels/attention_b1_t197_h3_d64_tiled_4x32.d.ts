export declare const attention_b1_t197_h3_d64_tiled_4x32: string;

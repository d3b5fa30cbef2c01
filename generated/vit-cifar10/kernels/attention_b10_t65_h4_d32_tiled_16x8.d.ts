export declare const attention_b10_t65_h4_d32_tiled_16x8: string;

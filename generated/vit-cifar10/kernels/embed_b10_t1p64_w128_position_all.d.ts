export declare const embed_b10_t1p64_w128_position_all: string;

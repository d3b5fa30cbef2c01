export declare const embed_b1_t1p196_w192_position_all: string;

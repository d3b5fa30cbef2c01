export declare const attention_b1_t197_h3_d64_register: string;

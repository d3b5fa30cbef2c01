export declare const attention_b1_t65_h4_d32_register: string;

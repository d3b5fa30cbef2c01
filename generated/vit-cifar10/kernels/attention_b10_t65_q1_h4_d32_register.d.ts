export declare const attention_b10_t65_q1_h4_d32_register: string;

export declare const l2_normalize_r1_w128: string;

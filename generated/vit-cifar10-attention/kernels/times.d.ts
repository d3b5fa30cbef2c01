/** The texts for i = 0, 1, ..., count - 1, one after the other. */
export declare const times: (count: number, text: (i: number) => string) => string;

/** Which attention is drawn, and what it says in words. */
import type { AttentionMap, AttentionSeen, AttentionView } from "../messages.js";
import { find, h, passFocus } from "./dom.js";
import { percent } from "./numbers.js";
import type { Stage } from "./stage.js";

export class AttentionControls {
  private readonly group = find("attention", HTMLFieldSetElement);
  private readonly of = find("attention-of", HTMLSelectElement);
  private readonly block = find("attention-block", HTMLSelectElement);
  private readonly head = find("attention-head", HTMLSelectElement);
  private readonly unpick = find("unpick", HTMLButtonElement);
  private readonly note = find("attention-note", HTMLParagraphElement);
  private maps: readonly AttentionMap[] = [];

  constructor(private readonly stage: Stage, onChange: () => void) {
    this.of.addEventListener("change", () => {
      this.enable();
      onChange();
    });
    this.block.addEventListener("change", () => {
      this.fillHeads();
      onChange();
    });
    this.head.addEventListener("change", onChange);
    this.unpick.addEventListener("click", () => stage.choose(undefined));
    this.clear();
  }

  /** While there is no model. */
  clear(): void {
    this.maps = [];
    this.group.disabled = true;
    this.forget();
  }

  /** While there is no attention of the photograph. */
  forget(): void {
    passFocus(this.unpick, find("patches", HTMLElement));
    this.unpick.hidden = true;
    if (this.maps.length > 0 || this.group.disabled) this.say("");
  }

  /** The maps of another model; the block stays as near as it can to the one that was chosen. */
  setMaps(maps: readonly AttentionMap[]): void {
    const before = this.block.value;
    this.maps = maps;
    this.group.disabled = maps.length === 0;
    this.note.textContent = maps.length === 0 ? "This package returns no attention maps: compile it with outputs: [\"blocks.*.attn\"] to see them." : "";
    this.block.replaceChildren(...maps.map(({ block }) => h("option", { value: block }, `${block + 1} of ${maps.at(-1)!.block + 1}`)));
    this.block.value = maps.some(({ block }) => String(block) === before) ? before : String(maps.at(-1)?.block ?? "");
    this.fillHeads();
    this.enable();
  }

  get view(): AttentionView {
    const { patch } = this.stage;
    if (this.of.value === "nothing" || this.maps.length === 0) return { of: "nothing", patch };
    if (this.of.value === "rollout") return { of: "rollout", patch };
    return { of: { block: Number(this.block.value), head: this.head.value === "mean" ? "mean" : Number(this.head.value) }, patch };
  }

  /** Says what is drawn. */
  describe({ of, patch }: AttentionView, { weights, elsewhere, whose }: AttentionSeen): void {
    if (patch === undefined) passFocus(this.unpick, find("patches", HTMLElement));
    this.unpick.hidden = patch === undefined;
    if (this.maps.length === 0) return;
    if (of === "nothing" || weights.length === 0) return this.say("");
    const from = patch !== undefined ? `The patch in ${this.stage.placeOf(patch)} takes` : whose === "class token" ? "The class token takes" : "All patches together take";
    const where = of === "rollout" ? "over all blocks (rollout)" : `in block ${of.block + 1}, ${of.head === "mean" ? "the mean of its heads" : `head ${of.head + 1}`}`;
    const strongest = weights.reduce((best, weight, i) => (weight > weights[best]! ? i : best), 0);
    const rest = elsewhere > 0 ? `; ${percent(elsewhere)} goes to tokens that are no patches` : "";
    this.say(`${from} most from the patch in ${this.stage.placeOf(strongest)} (${percent(weights[strongest]!)}) ${where}${rest}.`);
  }

  /** Screen readers say what is written, also if it was there before. */
  private say(text: string): void {
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  private fillHeads(): void {
    const before = this.head.value;
    const heads = this.maps.find(({ block }) => String(block) === this.block.value)?.heads ?? 0;
    this.head.replaceChildren(h("option", { value: "mean" }, "mean of all"), ...Array.from({ length: heads }, (_, i) => h("option", { value: i }, `${i + 1} of ${heads}`)));
    this.head.value = before !== "" && Number(before) < heads ? before : "mean";
  }

  private enable(): void {
    this.block.disabled = this.head.disabled = this.of.value !== "block" || this.maps.length === 0;
  }
}

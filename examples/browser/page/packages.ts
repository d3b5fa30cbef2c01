/** The packages that can be chosen, and the menu that chooses one. */
import type { PackageSource } from "../messages.js";
import { chooseFolder, orderWeights } from "./chosen.js";
import { messageOf } from "./client.js";
import { h } from "./dom.js";

/** All packages that the page knows; menus follow it. */
export class Packages {
  private readonly known: PackageSource[] = [
    { kind: "built-in", name: "vit-cifar10-attention" },
    { kind: "built-in", name: "vit-cifar10" },
  ];
  private readonly listeners: (() => void)[] = [];

  get all(): readonly PackageSource[] {
    return this.known;
  }

  /** Adds a package, or puts it in the place of one at the same address. */
  add(source: PackageSource): number {
    const at = source.kind === "chosen" ? this.known.findIndex((each) => each.kind === "chosen" && each.address === source.address) : -1;
    if (at >= 0) this.known[at] = source;
    else this.known.push(source);
    for (const listener of this.listeners) listener();
    return at >= 0 ? at : this.known.length - 1;
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }
}

export interface PackageMenuOptions {
  readonly packages: Packages;
  /** What the menu is for: `Package`, `Package A`. */
  readonly label: string;
  readonly selected: number;
  /** Called with the package when another is chosen and its weights are there. */
  readonly onChoose?: (source: PackageSource) => void;
  /** Whether the dtype can be chosen. */
  readonly dtypes?: boolean;
}

/** A list of packages, and ways to bring another: a folder, and weights where it has none. */
export class PackageMenu {
  readonly element: HTMLElement;
  readonly select: HTMLSelectElement;
  private readonly dtypeSelect: HTMLSelectElement | undefined;
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly weights: HTMLElement;

  constructor(private readonly options: PackageMenuOptions) {
    const { packages, label, selected, dtypes } = options;
    this.select = h("select", { name: "package" });
    this.dtypeSelect = dtypes === true ? h("select", { name: "dtype", "aria-label": `${label}: dtype` }, ...["auto", "f32", "f16"].map((dtype) => h("option", { value: dtype }, dtype))) : undefined;
    const folder = h("input", { type: "file", webkitdirectory: true, "aria-label": `${label}: Open a folder that vitc compile wrote` });
    const file = h("input", { type: "file", multiple: true, accept: ".safetensors,.json,.npz,.bin" });
    this.weights = h("p", { class: "note", hidden: true }, "This folder has no weights. ", h("label", { class: "button" }, "Choose its weight file", file));
    this.element = h(
      "div",
      { class: "menu" },
      h("div", { class: "controls" }, h("label", {}, `${label} `, this.select), this.dtypeSelect && h("label", {}, "dtype ", this.dtypeSelect), h("label", { class: "button" }, "Open a folder", folder)),
      this.weights,
      this.problem,
    );
    this.fill(selected);
    packages.onChange(() => this.fill(this.select.selectedIndex));
    this.select.addEventListener("change", () => this.chosen());
    folder.addEventListener("change", () => void this.openFolder([...(folder.files ?? [])]).finally(() => (folder.value = "")));
    file.addEventListener("change", () => this.takeWeights([...(file.files ?? [])]));
  }

  /** The package that is chosen, or undefined while it has no weights. */
  get source(): PackageSource | undefined {
    const source = this.options.packages.all[this.select.selectedIndex];
    return source?.kind === "chosen" && source.weights.length === 0 ? undefined : source;
  }

  get dtype(): "auto" | "f32" | "f16" {
    const value = this.dtypeSelect?.value;
    return value === "f32" || value === "f16" ? value : "auto";
  }

  private fill(selected: number): void {
    this.select.replaceChildren(...this.options.packages.all.map(({ name }) => h("option", {}, name)));
    this.select.selectedIndex = selected;
  }

  private chosen(): void {
    const source = this.options.packages.all[this.select.selectedIndex];
    this.problem.textContent = "";
    this.weights.hidden = !(source?.kind === "chosen" && source.weights.length === 0);
    if (this.source) this.options.onChoose?.(this.source);
  }

  private async openFolder(files: readonly File[]): Promise<void> {
    if (files.length === 0) return;
    try {
      this.problem.textContent = "";
      this.select.selectedIndex = this.options.packages.add(await chooseFolder(files));
      this.chosen();
    } catch (error) {
      this.problem.textContent = messageOf(error);
    }
  }

  private takeWeights(files: readonly File[]): void {
    const source = this.options.packages.all[this.select.selectedIndex];
    if (files.length === 0 || source?.kind !== "chosen") return;
    this.select.selectedIndex = this.options.packages.add({ ...source, weights: orderWeights(files) });
    this.chosen();
  }
}

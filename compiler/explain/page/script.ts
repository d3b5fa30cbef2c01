/**
 * The page's behaviour: a filter for the table of dispatches, and the same dispatch lit up in graph, table and timeline. The page says all
 * without it.
 */
export const script: string = `
const rows = [...document.querySelectorAll("tbody tr[data-kind]")];
const filter = document.getElementById("filter");
const buttons = [...document.querySelectorAll(".legend button")];
const apply = () => {
  const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const shown = new Set(buttons.filter((button) => button.getAttribute("aria-pressed") === "true").map((button) => button.dataset.kind));
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !shown.has(row.dataset.kind) || !words.every((word) => text.includes(word));
  }
};
filter.addEventListener("input", apply);
for (const button of buttons) button.addEventListener("click", () => {
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  apply();
});

let lit = [];
const light = (event) => {
  const key = event.target.closest?.("[data-dispatch]")?.dataset.dispatch;
  for (const element of lit) element.classList.remove("lit");
  lit = key === undefined ? [] : [...document.querySelectorAll('[data-dispatch="' + key + '"]')];
  for (const element of lit) element.classList.add("lit");
};
document.addEventListener("pointerover", light);
document.addEventListener("focusin", light);

const open = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", open);
open();

for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", async () => {
  const text = button.closest("details").querySelector("pre").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.closest("details").querySelector("pre"));
    button.textContent = "Selected";
  }
});
`;

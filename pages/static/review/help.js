// The sheet of keys.

import { openDialog } from "./dialogs.js";
import { el } from "./dom.js";
import { lettersAlways, setLettersAlways, shownKey } from "./keys.js";

/** Show all keys, made of the bindings themselves. */
export function openHelp(bindings) {
  const groups = [...new Set(bindings.map((binding) => binding.group))].filter(Boolean);
  const letters = el("input", { type: "checkbox", id: "letters", checked: lettersAlways() });
  letters.addEventListener("change", () => setLettersAlways(letters.checked));
  return openDialog({
    title: "Keys",
    kind: "wide help",
    body: [
      el("p", { class: "quiet" },
        "A key acts on the picture under the mouse, or on the one with the frame; on all that are selected, where some are. ",
        "Hold Shift with an arrow, drag a rectangle, or draw a loop on the map to select many."),
      el("div", { class: "sheet" }, groups.map((group) => section(group, bindings))),
      el("p", {}, letters, " ",
        el("label", { for: "letters" }, "Single letters work anywhere on the page; without this, only while the list has the focus.")),
    ],
    buttons: [{ title: "Close", value: "", first: true }],
  });
}

function section(group, bindings) {
  return el(
    "section",
    {},
    el("h3", {}, group),
    el(
      "dl",
      {},
      bindings
        .filter((binding) => binding.group === group)
        .map(({ keys, words }) =>
          el("div", {}, el("dt", {}, keys.map((key) => [el("kbd", {}, shownKey(key)), " "])), el("dd", {}, words)),
        ),
    ),
  );
}

// Choosing one of a list by typing: two letters of a class, Enter.

import { openDialog } from "./dialogs.js";
import { el, fill } from "./dom.js";
import { number } from "./words.js";

const MOST_SHOWN = 200;

/**
 * Ask for one of `options` (`{name, title, count?}`), the likeliest first. `allow(text)` tells whether a text that is no
 * option may be taken as it was typed. Resolves to a name, or "".
 */
export function pick({ title, label, options, allow = () => false, first = [] }) {
  const input = el("input", {
    type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "choices", "aria-autocomplete": "list",
    autocomplete: "off", spellcheck: "false", autofocus: true, id: "choice",
  });
  const list = el("ul", { role: "listbox", id: "choices", class: "choices", "aria-label": title });
  const hint = el("p", { class: "quiet", role: "status" });
  let found = [];
  let active = 0;

  const show = () => {
    found = matching(options, input.value, first);
    const typed = input.value.trim();
    if (typed && allow(typed) && !found.some((option) => option.name === typed))
      found.push({ name: typed, title: `“${typed}”, as typed` });
    active = 0;
    fill(
      list,
      found.slice(0, MOST_SHOWN).map((option, index) =>
        el(
          "li",
          { role: "option", id: `choice-${index}`, "data-name": option.name },
          el("span", {}, option.title || option.name),
          el("span", { class: "quiet" }, [
            option.title && option.title !== option.name && !option.title.startsWith("“") ? option.name : null,
            option.count === undefined ? null : ` ${number(option.count)}`,
          ]),
        ),
      ),
    );
    hint.textContent = found.length ? "" : "Nothing is called so.";
    mark();
  };
  const mark = () => {
    for (const [index, option] of [...list.children].entries()) {
      option.setAttribute("aria-selected", String(index === active));
      if (index === active) option.scrollIntoView({ block: "nearest" });
    }
    if (found.length) input.setAttribute("aria-activedescendant", `choice-${active}`);
    else input.removeAttribute("aria-activedescendant");
  };

  return openDialog({
    title,
    kind: "picker",
    body: ({ close }) => {
      input.addEventListener("input", show);
      list.addEventListener("click", (event) => {
        const chosen = event.target.closest("[data-name]");
        if (chosen) close(chosen.dataset.name);
      });
      return [el("label", { for: "choice" }, label), input, list, hint];
    },
    keys: (event, { close }) => {
      const shown = Math.min(found.length, MOST_SHOWN);
      const steps = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in steps && shown) {
        active = (active + steps[event.key] + shown) % shown;
        mark();
        return true;
      }
      if (event.key !== "Enter" || event.target !== input) return false;
      if (found.length) close(found[active].name);
      return true;
    },
    opened: show,
  });
}

/** The options that a text fits: those that begin with it, those with a word that does, those that hold it. */
export function matching(options, text, first = []) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) {
    const early = first.map((name) => options.find((option) => option.name === name)).filter(Boolean);
    return [...new Set([...early, ...options])];
  }
  const ranked = [];
  for (const [place, option] of options.entries()) {
    const names = [option.title ?? "", option.name].map((name) => name.toLowerCase());
    const words = names.flatMap((name) => name.split(/[^\p{L}\p{N}]+/u));
    let rank = 3;
    if (names.includes(wanted)) rank = -1;
    else if (names.some((name) => name.startsWith(wanted))) rank = 0;
    else if (words.some((word) => word.startsWith(wanted))) rank = 1;
    else if (names.some((name) => name.includes(wanted))) rank = 2;
    if (rank < 3) ranked.push([rank, place, option]);
  }
  return ranked.sort((one, other) => one[0] - other[0] || one[1] - other[1]).map((entry) => entry[2]);
}

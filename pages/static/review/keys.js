// Keys: which does what, and how what is typed finds its action. Single letters can be held back until the grid has the
// focus (for those who speak to their computer); keys that browsers and screen readers use are left to them.

import { isOpen } from "./dialogs.js";
import { takesText } from "./dom.js";
import { keepSetting, setting } from "./settings.js";

const SWITCH = "review.letters";

/** What a key press is called: "a", "A", "Ctrl+z", "Shift+ArrowDown", "Space", "?". */
export function nameOf(event) {
  let key = event.key === " " ? "Space" : event.key;
  // Where the keyboard writes another alphabet, the key at the letter's place
  if (/^\P{ASCII}$/u.test(key) && /^Key[A-Z]$/.test(event.code)) key = event.code.at(-1);
  // Caps Lock makes no other key of a letter
  if (/^\p{L}$/u.test(key)) key = event.shiftKey ? key.toUpperCase() : key.toLowerCase();
  const control = (event.ctrlKey || event.metaKey) && !writesBracket(event);
  return (control ? "Ctrl+" : "") + (event.shiftKey && key.length > 1 ? "Shift+" : "") + key;
}

/** Many keyboards write brackets with AltGr, which is Ctrl and Alt to some systems. */
const writesBracket = (event) => event.altKey && (event.key === "[" || event.key === "]");

/** How a key is shown. */
export function shownKey(name) {
  const signs = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", PageUp: "PgUp",
    PageDown: "PgDn" };
  const [, before, key] = /^((?:Ctrl\+|Shift\+)*)(.+)$/.exec(name);
  const shown = signs[key] ?? key;
  if (/^[A-Z]$/.test(shown)) return `Shift+${shown}`;
  return before + (before && shown.length === 1 ? shown.toUpperCase() : shown);
}

export const lettersAlways = () => setting(SWITCH) !== "focused";
export const setLettersAlways = (on) => keepSetting(SWITCH, on ? "always" : "focused");

/** The action that a key press names, of bindings `{keys, run, repeat}`; null for none. */
export function bindingOf(bindings, event) {
  if ((event.altKey && !writesBracket(event)) || event.isComposing) return null;
  const name = nameOf(event);
  const found = bindings.find((binding) => binding.keys.includes(name));
  if (!found) return null;
  // A key that is held down moves on; it does not decide on picture after picture
  return event.repeat && !found.repeat ? { ...found, run: () => {} } : found;
}

/** Listen for the page's keys while no dialog is open and no field has the focus. */
export function listen(bindings, grid) {
  document.addEventListener("keydown", (event) => {
    if (isOpen() || event.defaultPrevented) return;
    const { target } = event;
    const name = nameOf(event);
    if (takesText(target)) {
      if (name === "Escape") grid.focus();
      return;
    }
    const inGrid = grid.contains(target);
    const ownKeys = target.closest?.("button, a, summary, input, [role=tab]");
    if (ownKeys && ["Enter", "Space", "Tab"].includes(name)) return;
    if (!inGrid && name.length === 1 && !lettersAlways()) return;
    // Arrows scroll what has the focus; they move in the grid where nothing else has it
    if (!inGrid && target !== document.body && /Arrow|Page|Home|End/.test(name)) return;
    const binding = bindingOf(bindings, event);
    if (!binding) return;
    event.preventDefault();
    binding.run(event);
  });
}

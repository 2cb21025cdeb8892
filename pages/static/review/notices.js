// What just happened, in a line: shown below for a while, and spoken by a screen reader.

import { byId, el, fill } from "./dom.js";

const STAYS = 8000;
const MOST = 4;

/** Speak a sentence, without showing it. */
export function announce(sentence) {
  const region = byId("spoken");
  // The same sentence twice is spoken twice only where the text changes
  region.textContent = region.textContent === sentence ? `${sentence}\u00a0` : sentence;
}

/** Show a sentence and speak it. `action` is `{title, run}`, a button beside it; `bad` is for what went wrong. */
export function notice(sentence, { action, bad = false } = {}) {
  const gone = () => {
    clearTimeout(timer);
    shown.remove();
  };
  const button = action && el("button", { type: "button", onclick: () => (gone(), action.run()) }, action.title);
  const close = el("button", { type: "button", class: "plain", "aria-label": "Close this notice", onclick: gone }, "×");
  const shown = el("div", { class: bad ? "notice bad" : "notice" }, el("span", {}, sentence), button, close);
  const timer = setTimeout(gone, bad ? STAYS * 2 : STAYS);
  const place = byId("notices");
  place.append(shown);
  while (place.children.length > MOST) place.firstChild.remove();
  announce(sentence);
}

/** Take away what was said: it holds no longer. */
export const clearNotices = () => byId("notices").replaceChildren();

/** The band above everything that says what is wrong until it is right again; "" takes it away. */
export function banner(sentence, action) {
  const band = byId("banner");
  if (band.dataset.said === sentence) return;
  band.dataset.said = sentence;
  band.hidden = !sentence;
  const button = action && el("button", { type: "button", onclick: action.run }, action.title);
  fill(band, sentence && el("span", {}, sentence), sentence && button);
}

// What can be done with a picture, each with its key: the page's keys, its buttons and its help are made of this.

import { el } from "./dom.js";
import { openHelp } from "./help.js";
import { openHistory } from "./history.js";
import { isKeeper, proposes } from "./listing.js";
import { pick } from "./pick.js";
import { classTitle } from "./words.js";

const REASON = /^[a-z][a-z-]{0,30}$/;

/** All bindings: `{keys, group, words, run}`; `repeat` where a key that is held down goes on. */
export function bindings(page) {
  const { review, decisions, grid } = page;
  const step = (amount, range) => () => page.move(amount(), range);
  const row = () => Math.max(0, review.cursor) % grid.columns;
  const moves = [
    [["ArrowLeft", "h"], () => -1, "left"],
    [["ArrowRight", "l"], () => 1, "right"],
    [["ArrowUp", "k"], () => -grid.columns, "up"],
    [["ArrowDown", "j"], () => grid.columns, "down"],
    [["PageUp"], () => -grid.columns * grid.rowsSeen, "a screen up"],
    [["PageDown"], () => grid.columns * grid.rowsSeen, "a screen down"],
    [["Home"], () => -row(), "to the row's start"],
    [["End"], () => grid.columns - 1 - row(), "to the row's end"],
    [["Ctrl+Home"], () => -review.listing.total, "to the first"],
    [["Ctrl+End"], () => review.listing.total, "to the last"],
  ];
  return [
    ...moves.map(([keys, amount, words]) => ({ keys, group: "Move", words, run: step(amount, false), repeat: true })),
    { keys: ["n"], group: "Move", words: "to the next open one", run: () => page.moveOpen(1), repeat: true },
    { keys: ["p"], group: "Move", words: "to the open one before", run: () => page.moveOpen(-1), repeat: true },
    { keys: ["]"], group: "Move", words: "to the next queue with open proposals", run: () => page.nextQueue(1) },
    { keys: ["["], group: "Move", words: "to the queue before", run: () => page.nextQueue(-1) },
    ...decisionBindings(page),
    { keys: ["z", "Enter"], group: "Look", words: "large, with zoom", run: () => page.large(false) },
    { keys: ["c"], group: "Look", words: "copies, or the selected, side by side; then b blinks", run: () => page.large(true) },
    { keys: ["m"], group: "Look", words: "more like this", run: () => page.moreLikeThis() },
    { keys: ["v"], group: "Look", words: "as a grid, or as a list with all reasons", run: () => page.toggleLayout() },
    { keys: ["M"], group: "Look", words: "the map", run: () => page.setLayout(review.place.layout === "map" ? "grid" : "map") },
    { keys: ["+", "="], group: "Look", words: "larger tiles", run: () => page.resize(1) },
    { keys: ["-"], group: "Look", words: "smaller tiles", run: () => page.resize(-1) },
    { keys: ["Space"], group: "Select", words: "select this one, or not", run: () => page.toggleSelected() },
    ...moves.map(([keys, amount]) => ({
      keys: keys.filter((key) => key.length > 1 && !key.includes("+")).map((key) => `Shift+${key}`),
      group: "", words: "", run: step(amount, true), repeat: true,
    })),
    { keys: ["Ctrl+a"], group: "Select", words: "all that are shown", run: () => page.selectAll() },
    { keys: ["Escape"], group: "Select", words: "none; back to the list", run: () => page.escape() },
    { keys: ["/"], group: "Page", words: "search in paths", run: () => page.focusFilter("text") },
    { keys: ["f"], group: "Page", words: "filter by class", run: () => page.focusFilter("class") },
    { keys: ["A"], group: "Page", words: "accept all that are shown", run: () => page.acceptAll() },
    { keys: ["H"], group: "Page", words: "history: undo any decision", run: () => openHistory((batch) => decisions.undo(batch)) },
    { keys: ["C"], group: "Page", words: "carry out what was decided", run: () => page.carryOut() },
    { keys: ["?"], group: "Page", words: "this help", run: () => openHelp(page.bindings) },
  ];
}

/** The bindings that decide: they work in the large view as well. */
export function decisionBindings(page) {
  const { decisions } = page;
  const act = (run) => () => (page.settleHover(), run());
  return [
    { keys: ["a"], group: "Decide", words: "accept the proposal", run: act(() => decisions.accept()) },
    { keys: ["s"], group: "Decide", words: "it stays, and is not proposed again", run: act(() => decisions.keep()) },
    { keys: ["x"], group: "Decide", words: "set aside for a reason of yours", run: act(() => askReason(page)) },
    { keys: ["r"], group: "Decide", words: "relabel: two letters of a class, Enter", run: act(() => askClass(page)) },
    { keys: ["w"], group: "Decide", words: "swap: this copy stays instead", run: act(() => decisions.keeper()) },
    { keys: ["t"], group: "Decide", words: "take back out of quarantine", run: act(() => decisions.restore()) },
    { keys: ["u", "Ctrl+z"], group: "Decide", words: "undo, as often as you like", run: () => decisions.undo() },
  ];
}

async function askReason({ review, decisions }) {
  const targets = review.targets();
  if (!targets.length) return;
  const reason = await pick({
    title: "Set aside",
    label: "Reason",
    options: review.overview.reasons,
    allow: (text) => REASON.test(text),
    first: [...decisions.recent("reason"), review.item()?.reason ?? ""],
  });
  if (reason) decisions.aside(reason, targets);
}

async function askClass({ review, decisions }) {
  const targets = review.targets();
  if (!targets.length) return;
  const proposed = review.item()?.proposed ?? "";
  const label = await pick({
    title: "Relabel",
    label: "Class",
    options: review.overview.classes,
    first: [proposed, ...decisions.recent("label")],
  });
  if (label) decisions.relabel(label, targets);
}

/** What the buttons beside a picture say and do. */
export function buttonsFor(page) {
  const { review, decisions } = page;
  const item = review.item();
  const chosen = review.alone ? 0 : review.selection.size;
  const inQuarantine = review.listing.queue === "quarantine";
  const accept = item?.proposed ? `→ ${classTitle(review.overview, item.proposed)}` : "Set aside";
  return [
    (chosen || (item && proposes(item) && !inQuarantine)) && {
      title: chosen ? "Accept" : accept, key: "a", run: () => decisions.accept(), kind: "primary",
    },
    !inQuarantine && { title: "Stays", key: "s", run: () => decisions.keep() },
    inQuarantine && { title: "Bring back", key: "t", run: () => decisions.restore(), kind: "primary" },
    !inQuarantine && { title: "Reason…", key: "x", run: () => askReason(page), label: "Set aside for a reason" },
    !inQuarantine && { title: "Relabel…", key: "r", run: () => askClass(page) },
    !chosen && item?.cluster && !isKeeper(item) && { title: "Swap", key: "w", run: () => decisions.keeper(), label: "Swap: this copy stays" },
    !chosen && { title: "Alike", key: "m", run: () => page.moreLikeThis(), label: "More like this" },
    { title: "Undo", key: "u", run: () => decisions.undo() },
  ].filter(Boolean);
}


/** One of these buttons, with its key. */
export function decideButton({ title, key, run, kind, label }) {
  return el(
    "button",
    { type: "button", class: kind, onclick: run, "data-key": key, title: label },
    el("span", {}, title),
    el("kbd", { "aria-hidden": "true" }, key),
  );
}

// All decisions so far, batch by batch, each to be undone.

import * as api from "./api.js";
import { openDialog } from "./dialogs.js";
import { el, fill } from "./dom.js";
import { ACTIONS, count, isUndoable, moment } from "./words.js";

const PAGE = 50;

/** Show what was decided; `undo(batch)` resolves when a batch is undone. */
export function openHistory(undo) {
  const list = el("ol", { class: "past batches" });
  const note = el("p", { class: "quiet", role: "status" });
  const more = el("button", { type: "button", hidden: true, onclick: () => load(false) }, "Earlier ones");
  let shown = 0;

  const load = async (anew) => {
    try {
      const told = await api.history(anew ? 0 : shown, anew ? Math.max(PAGE, shown) : PAGE);
      if (anew) fill(list);
      list.append(...told.batches.map((batch) => line(batch, take)));
      shown = list.children.length;
      more.hidden = shown >= told.total;
      note.textContent = told.total ? count(told.total, "decision") : "Nothing was decided yet.";
    } catch (error) {
      note.textContent = error.message;
    }
  };
  const take = async (batch) => {
    note.textContent = "Undoing…";
    const entry = await undo(batch);
    await entry?.settled;
    await load(true);
    list.querySelector("button")?.focus();
  };
  return openDialog({
    title: "History",
    kind: "wide",
    body: [note, list, more],
    opened: () => load(true),
  });
}

function line(batch, take) {
  const sign = ACTIONS[batch.action]?.sign ?? "•";
  return el(
    "li",
    { class: batch.undone ? "undone" : null },
    el("span", { class: `sign ${batch.action}`, "aria-hidden": "true" }, sign),
    el("span", {}, batch.words || `${ACTIONS[batch.action]?.done ?? batch.action}: ${count(batch.count, "picture")}`),
    el("span", { class: "quiet" }, `${batch.who}, ${moment(batch.when)}${batch.undone ? ", undone" : ""}`),
    isUndoable(batch) &&
      el("button", { type: "button", class: "small", onclick: () => take(batch.batch) },
        "Undo", el("span", { class: "visually-hidden" }, ` ${batch.words}`)),
  );
}

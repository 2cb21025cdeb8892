// Deciding: what is shown at once, what is sent, and what is done where the server says otherwise.

import * as api from "./api.js";
import { Conflict } from "./api.js";
import { el } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { isKeeper, proposes, underWay } from "./listing.js";
import { announce, clearNotices, notice } from "./notices.js";
import { Outbox } from "./outbox.js";
import { classTitle, count, decided, fileName, isUndoable, moment, reasonTitle, sentence } from "./words.js";

const HISTORY = 200; // batches that are asked for at once, in search of the last that is not undone

export class Decisions extends EventTarget {
  /** The batches that this page made: what others decided is told apart by them. */
  own = new Set();
  #done = [];
  #turn = Promise.resolve();

  constructor(review) {
    super();
    this.review = review;
    this.outbox = new Outbox((entry) => (entry.kind === "undo" ? api.undo(entry.body) : api.decide(entry.body)));
    this.outbox.addEventListener("change", () => this.#noteUnderWay());
    this.outbox.addEventListener("saved", ({ detail }) => this.#saved(detail.entry, detail.result));
    this.outbox.addEventListener("refused", ({ detail }) => this.#refused(detail.entry, detail.result));
  }

  /** Set aside or relabel as is proposed; `total` says how many do propose something, where not all are known yet. */
  accept(ids = this.review.targets(), total = 0) {
    const fit = ids.filter((id) => {
      const item = this.review.listing.get(id);
      return item === undefined || (item !== null && proposes(item));
    });
    if (!fit.length) return nothing("Nothing is proposed here.");
    return this.decide(fit, "accept", {}, `accepted ${count(total || fit.length, "proposal")}`);
  }

  /** They stay, and are not proposed again for this cause. */
  keep(ids = this.review.targets()) {
    return this.decide(ids, "keep", {}, `${count(ids.length, "picture")} ${ids.length === 1 ? "stays" : "stay"}`);
  }

  aside(reason, ids = this.review.targets()) {
    const title = reasonTitle(this.review.overview, reason);
    return this.decide(ids, "aside", { reason }, `${count(ids.length, "picture")} set aside: ${title}`);
  }

  relabel(label, ids = this.review.targets()) {
    const title = classTitle(this.review.overview, label);
    return this.decide(ids, "relabel", { label }, `${count(ids.length, "picture")} relabelled to ${title}`);
  }

  /** This copy stays in place of the one that would. */
  keeper(id = this.review.current) {
    const item = this.review.listing.get(id);
    if (item && (!item.cluster || isKeeper(item)))
      return nothing(item.cluster ? "This copy stays already." : "This picture has no copies.");
    return this.decide([id], "keeper", {}, "this copy stays in place of the other");
  }

  restore(ids = this.review.targets()) {
    const fit = ids.filter((id) => {
      const item = this.review.listing.get(id);
      return this.review.listing.queue === "quarantine" || (item && item.path.includes("quarantine/"));
    });
    if (!fit.length) return nothing("Only what lies in quarantine can be brought back.");
    return this.decide(fit, "restore", {}, `${count(fit.length, "picture")} will come back`);
  }

  decide(ids, action, more, words) {
    const { review } = this;
    const { listing } = review;
    if (!ids.length) return nothing("No picture is under the cursor.");
    const seen = {};
    let last = -1;
    for (const id of ids) {
      const known = listing.seenOf(id);
      if (known) seen[id] = known;
      last = Math.max(last, listing.positionOf(id));
    }
    const entry = { kind: "decide", body: { ids, action, ...more, seen, queue: listing.queue }, words };
    this.#done.push(entry);
    this.outbox.add(entry);
    if (!review.alone) review.select([]);
    if (last >= 0) this.#moveOn(last, words);
    else announce(sentence(words));
    listing.changed();
    return entry;
  }

  /** Take over pictures as the server has them now, as a queue shows them. */
  merge(items, queue) {
    const { listing } = this.review;
    if (queue === listing.queue) listing.update(items);
    else listing.forget(items.map((item) => item.id));
  }

  #noteUnderWay() {
    underWay.clear();
    const { listing, overview } = this.review;
    for (const { body } of this.outbox.entries)
      for (const id of body.ids ?? [])
        underWay.set(id, expected(listing.get(id), body.action, body, overview?.who ?? ""));
  }

  #moveOn(from, words) {
    const { review } = this;
    const next = review.listing.nextOpen(from);
    if (next >= 0) review.setCursor(next);
    announce(sentence(words) + (next >= 0 ? "" : ` Nothing open is left in ${review.title()}.`));
    if (next < 0) this.dispatchEvent(new Event("cleared"));
  }

  /** Undo a batch of any age; without one, the last of this page, then the last that there is. */
  async undo(batch) {
    if (batch !== undefined) return this.#undoBatch(batch);
    const entry = this.#done.pop();
    if (entry) return this.#undoEntry(entry);
    // One after the other: each has to see that the one before is undone
    this.#turn = this.#turn.then(() => this.#undoEarlier());
    return this.#turn;
  }

  #undoBatch(batch) {
    this.#done = this.#done.filter((entry) => entry.batch !== batch);
    return this.outbox.add({ kind: "undo", body: { batch, queue: this.#queue() }, words: "Undone" });
  }

  async #undoEarlier() {
    await this.outbox.settled();
    try {
      let last;
      for (let offset = 0, total = 1; !last && offset < total; offset += HISTORY) {
        const told = await api.history(offset, HISTORY);
        last = told.batches.find(isUndoable);
        total = told.total;
      }
      if (!last) return nothing("There is nothing to undo.");
      const entry = this.#undoBatch(last.batch);
      await entry.settled;
      return entry;
    } catch (error) {
      this.review.emit("failed", error);
      return null;
    }
  }

  async #undoEntry(entry) {
    if (this.outbox.cancel(entry)) {
      this.review.listing.changed();
      this.#returnTo(entry.body.ids);
      announce(`Taken back: ${entry.words}.`);
      return null;
    }
    await entry.settled;
    if (entry.batch === undefined) return null;
    const body = { batch: entry.batch, queue: this.#queue() };
    return this.outbox.add({ kind: "undo", body, words: `Undone: ${entry.words}` });
  }

  /** The queue as which pictures are to come back. */
  #queue() {
    return this.review.listing.queue || "all";
  }

  #returnTo(ids) {
    const { listing } = this.review;
    const first = ids.reduce((least, id) => Math.min(least, listing.positionOf(id) >>> 0), Infinity);
    if (first < listing.total) this.review.setCursor(first);
  }

  #saved(entry, answer) {
    if (answer.batch !== undefined) this.own.add(answer.batch);
    this.merge(answer.items, entry.body.queue);
    if (entry.kind === "undo") {
      this.#returnTo(answer.items.map((item) => item.id));
      clearNotices();
      notice(sentence(entry.words));
    } else {
      entry.batch = answer.batch;
      if (entry.body.ids.length > 1)
        notice(sentence(entry.words), { action: { title: "Undo", run: () => this.undo(entry.batch) } });
    }
    this.review.emit("decided", answer.items);
    this.review.refreshOverview();
    if (answer.more) this.review.reload();
  }

  #refused(entry, error) {
    this.#done = this.#done.filter((other) => other !== entry);
    if (error instanceof Conflict && entry.kind === "decide" && this.#isOurs(entry, error.items)) {
      // The answer to an earlier try was lost: what we decided stands
      const batch = error.items[0].decision.batch;
      this.#done.push(entry);
      this.#saved(entry, { batch, items: error.items, more: entry.body.action === "accept" });
      return;
    }
    this.review.listing.changed();
    if (error instanceof Conflict) {
      this.merge(error.items, entry.body.queue);
      if (entry.kind === "decide") this.#tellConflict(entry, error);
      else notice(error.message, { bad: true });
    } else notice(`Not saved: ${error.message}`, { bad: true });
    this.review.refreshOverview();
  }

  #isOurs(entry, items) {
    const { action, reason = "", label = "", ids } = entry.body;
    const who = this.review.overview?.who;
    return (
      entry.tries > 1 &&
      (items.length === ids.length || action === "accept") &&
      new Set(items.map((item) => item.decision?.batch)).size === 1 &&
      items.every(({ decision }) => {
        if (!decision || decision.who !== who || this.own.has(decision.batch)) return false;
        if (action === "accept") return decision.action === "aside" || decision.action === "relabel";
        return decision.action === action && (!reason || decision.reason === reason) && (!label || decision.label === label);
      })
    );
  }

  async #tellConflict(entry, error) {
    const { overview } = this.review;
    const lines = error.items.slice(0, 50).map((item) =>
      el(
        "tr",
        {},
        el("td", {}, el("img", { src: api.thumb(item.id, 160), alt: "", class: "thumb" })),
        el("td", {}, el("span", { class: "path" }, fileName(item.path))),
        el("td", {}, item.decision ? decided(item.decision, overview) : "decision undone"),
        el("td", {}, item.decision ? [item.decision.who, el("br"), moment(item.decision.when)] : ""),
      ),
    );
    const chosen = await openDialog({
      title: "Decided elsewhere first",
      kind: "conflict",
      body: [
        el("p", {}, error.message),
        el("p", {}, `Yours (“${entry.words}”) was not saved.`),
        el(
          "table",
          {},
          el("thead", {}, el("tr", {}, ["", "Picture", "Decided", "By"].map((name) => el("th", { scope: "col" }, name)))),
          el("tbody", {}, lines),
        ),
      ],
      buttons: [
        { title: "Leave theirs", value: "", kind: "primary", first: true },
        { title: "Put mine in its place", value: "mine" },
      ],
    });
    if (chosen !== "mine") return;
    const { ids, action, seen: _, queue: __, ...more } = entry.body;
    this.decide(ids, action, more, entry.words);
  }

  /** The names of what was decided on lately, the last first: they are offered first. */
  recent(kind) {
    const names = this.#done.map((entry) => entry.body[kind]).filter(Boolean);
    return [...new Set(names.reverse())].slice(0, 5);
  }

  /** The next queue with open proposals; what lies in quarantine, and all pictures, are none. */
  nextQueue(direction = 1) {
    const { queues } = this.review.overview;
    const here = queues.findIndex((queue) => queue.name === this.review.place.queue);
    for (let step = 1; step <= queues.length; step += 1) {
      const queue = queues[(here + direction * step + queues.length * 2) % queues.length];
      if (queue.open && !["quarantine", "all"].includes(queue.name)) return queue.name;
    }
    return "";
  }
}

/** What a picture's decision will be, as far as the page can tell. */
function expected(item, action, more, who) {
  const decision = { action, reason: more.reason ?? "", label: more.label ?? "", who, when: new Date().toISOString() };
  if (action !== "accept") return decision;
  if (item?.proposed) return { ...decision, action: "relabel", label: item.proposed };
  return { ...decision, action: "aside", reason: item?.reason ?? "" };
}

function nothing(sentence) {
  notice(sentence);
  return null;
}

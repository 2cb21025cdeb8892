// What others decide meanwhile, and whether the server is there.

import * as api from "./api.js";
import { announce, banner } from "./notices.js";
import { count } from "./words.js";

const EVERY = 2000; // ms
const HIDDEN = 15_000;

export class Changes {
  #revision = null;
  #timer = 0;
  #gone = "";

  constructor(review, decisions) {
    this.review = review;
    this.decisions = decisions;
    decisions.outbox.addEventListener("unreachable", ({ detail }) => this.lost(detail));
    decisions.outbox.addEventListener("change", () => this.#tell());
    review.addEventListener("failed", ({ detail }) => {
      if (detail instanceof api.Unreachable) this.lost(detail);
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
  }

  /** Begin to ask, from the revision that the page's first answers had. */
  start(revision) {
    this.#revision = revision;
    this.#again();
  }

  /** The server did not answer: say so, and go on asking. */
  lost(error) {
    this.#gone = error.message;
    this.#tell();
    this.#again();
  }

  now() {
    clearTimeout(this.#timer);
    this.#ask();
  }

  #again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), document.hidden ? HIDDEN : this.#gone ? EVERY / 2 : EVERY);
  }

  async #ask() {
    try {
      if (this.#revision === null) this.#revision = (await this.review.loadOverview()).revision;
      const queue = this.review.listing.queue || "all";
      const told = await api.changes(this.#revision, queue);
      if (this.#gone) this.#found();
      if (told.revision !== this.#revision) await this.#take(told, queue);
    } catch (error) {
      if (error instanceof api.Unreachable) {
        this.#gone = error.message;
        this.#tell();
      } else {
        this.#revision = null; // the catalog may be another one: begin anew
        if (error.message) this.#gone = error.message;
        this.#tell();
      }
    }
    this.#again();
  }

  async #take(told, queue) {
    this.#revision = told.revision;
    const others = told.items.filter((item) => !this.decisions.own.has(item.decision?.batch ?? 0));
    this.decisions.merge(told.items, queue);
    if (others.length) this.review.emit("decided", others);
    const foreign = others.filter((item) => item.decision && item.decision.batch !== undefined);
    if (foreign.length) announce(`${count(foreign.length, "picture")} decided elsewhere.`);
    await this.review.loadOverview();
    if (told.more) this.review.reload();
  }

  #found() {
    this.#gone = "";
    this.#tell();
    announce("The server answers again.");
    this.decisions.outbox.wake();
    this.review.emit("found");
  }

  #tell() {
    const waiting = this.decisions.outbox.entries.length;
    if (!this.#gone) return banner("");
    const kept = waiting === 1 ? "it is kept here and sent again" : "they are kept here and sent again";
    const unsaved = waiting ? ` ${count(waiting, "decision")} not saved yet; ${kept}.` : "";
    const now = () => {
      this.decisions.outbox.wake();
      this.now();
    };
    banner(`${this.#gone}${unsaved} Trying again…`, { title: "Try now", run: now });
  }
}

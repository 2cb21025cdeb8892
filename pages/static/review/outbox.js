// Decisions on their way to the server, in the order in which they were made. What is not saved stays here, outlives a
// reload of the tab, and is sent again until the server has answered.

import { Refused, Unreachable } from "./api.js";
import { remember, remembered } from "./settings.js";

const WAITS = [500, 1000, 2000, 4000];

export class Outbox extends EventTarget {
  entries = [];
  #key = "";
  #send;
  #running = false;
  #wake = () => {};

  /** `send(entry)` posts one and gives the answer. */
  constructor(send) {
    super();
    this.#send = send;
  }

  /** Take up what an earlier page of this dataset could not save. */
  restore(dataset) {
    this.#key = `review.outbox ${dataset}`;
    const kept = remembered(this.#key) ?? [];
    for (const { kind, body, words } of kept) this.entries.push({ kind, body, words });
    this.#changed();
    this.#run();
    return kept.length;
  }

  /** Send an entry `{kind, body, words}` after those before it. */
  add(entry) {
    entry.settled = new Promise((resolve) => {
      entry.settle = resolve;
    });
    this.entries.push(entry);
    this.#changed();
    this.#run();
    return entry;
  }

  /** Take an entry back that was not sent, or got no answer; whether that could be done. */
  cancel(entry) {
    if (entry.inFlight || !this.entries.includes(entry)) return false;
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.#changed();
    return true;
  }

  /** Resolves to true once nothing waits, to false where the server does not answer. */
  emptied() {
    return new Promise((resolve) => {
      const watch = new AbortController();
      const { signal } = watch;
      const end = (empty) => {
        watch.abort();
        resolve(empty);
      };
      const look = () => this.entries.length || end(true);
      this.addEventListener("change", look, { signal });
      this.addEventListener("unreachable", () => end(false), { signal });
      look();
    });
  }

  /** Resolves once all that is on its way now is answered. */
  settled() {
    return Promise.all(this.entries.map((entry) => entry.settled));
  }

  /** Try again at once. */
  wake() {
    this.#wake();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    let tries = 0;
    while (this.entries.length) {
      const entry = this.entries[0];
      entry.inFlight = true;
      entry.tries = (entry.tries ?? 0) + 1;
      try {
        const answer = await this.#send(entry);
        tries = 0;
        this.#settle(entry, "saved", answer);
      } catch (error) {
        if (error instanceof Unreachable) {
          entry.inFlight = false;
          this.dispatchEvent(new CustomEvent("unreachable", { detail: error }));
          await this.#wait(WAITS[Math.min(tries, WAITS.length - 1)]);
          tries += 1;
        } else if (error instanceof Refused) {
          this.#settle(entry, "refused", error);
        } else {
          this.#settle(entry, "refused", new Refused(String(error), 0));
        }
      }
    }
    this.#running = false;
  }

  #settle(entry, kind, result) {
    entry.inFlight = false;
    const index = this.entries.indexOf(entry);
    if (index >= 0) this.entries.splice(index, 1);
    this.#hand(entry, result);
    this.#changed();
    this.dispatchEvent(new CustomEvent(kind, { detail: { entry, result } }));
    entry.settle?.(kind === "saved" ? result : null);
  }

  /** A later decision on the same picture replaces this one: it says so, with the batch that this one has now. */
  #hand(entry, result) {
    for (const id of entry.body.ids ?? []) {
      const later = this.entries.find((other) => other.body.seen && id in other.body.seen);
      if (later && later.body.seen[id] === -1) later.body.seen[id] = result.batch ?? entry.body.seen[id] ?? 0;
    }
  }

  #wait(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #changed() {
    const kept = this.entries.map(({ kind, body, words }) => ({ kind, body, words }));
    if (this.#key) remember(this.#key, kept.length ? kept : null);
    this.dispatchEvent(new Event("change"));
  }
}

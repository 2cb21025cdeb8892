// One list of pictures, in order. Its ids are taken once, so that no picture moves or is passed over while one decides;
// what the pictures are is fetched where the reviewer looks.

import * as api from "./api.js";

const FIRST = 200;
const CHUNK = 120;

/** Decisions of this page that are on their way to the server: id → what is shown in the meantime. */
export const underWay = new Map();

export class Listing extends EventTarget {
  ids = [];
  total = 0;
  proposals = 0;
  revision = 0;
  items = new Map();
  seen = {};
  title = "";
  why = "";
  #positions = new Map();
  #wanted = [0, 0];
  #busy = false;
  #stop = new AbortController();

  constructor(queue) {
    super();
    this.queue = queue;
  }

  /** Fetch the first pictures of a queue, then all of its ids. */
  static async ofQueue(queue, filters, signal) {
    const made = new Listing(queue);
    const all = api.ids(queue, filters, signal);
    all.catch(() => {}); // told by the await below
    const first = await api.page(queue, filters, 0, FIRST, signal);
    made.#put(first.items);
    made.#order(first.items.map((item) => item.id));
    made.total = first.total;
    made.revision = first.revision;
    made.complete = all.then((told) => {
      made.#order(told.ids);
      made.seen = told.seen ?? {};
      made.proposals = told.proposals ?? told.total;
      made.revision = Math.min(made.revision, told.revision);
      made.#changed();
    });
    made.complete.catch(() => {});
    return made;
  }

  /** A list of pictures that are known already. */
  static ofItems(items, queue, title, why = "") {
    const made = new Listing(queue);
    made.#put(items);
    made.#order(items.map((item) => item.id));
    made.title = title;
    made.why = why;
    made.proposals = items.filter((item) => proposes(item)).length;
    made.complete = Promise.resolve();
    return made;
  }

  /** A list of ids whose pictures are fetched as they are looked at. */
  static ofIds(ids, queue, title) {
    const made = new Listing(queue);
    made.#order(ids);
    made.title = title;
    made.complete = Promise.resolve();
    return made;
  }

  close() {
    this.#stop.abort();
  }

  at(index) {
    return this.get(this.ids[index]);
  }

  /** A picture with what is decided on it, saved or on its way; undefined while it is not known, null where it is gone. */
  get(id) {
    const item = this.items.get(id);
    return item && underWay.has(id) ? { ...item, decision: underWay.get(id) } : item;
  }

  positionOf(id) {
    return this.#positions.get(id) ?? -1;
  }

  /** Ask for the pictures of a range; those that are looked at last come first. */
  need(from, to) {
    this.#wanted = [Math.max(0, from), Math.min(this.ids.length, to)];
    if (!this.#busy) this.#fetch();
  }

  async #fetch() {
    this.#busy = true;
    try {
      for (let missing = this.#missing(); missing.length; missing = this.#missing()) {
        const told = await api.items(this.queue, missing, this.#stop.signal);
        this.#put(told.items);
        const came = new Set(told.items.map((item) => item.id));
        for (const id of missing) if (!came.has(id)) this.items.set(id, null);
        this.#changed();
      }
    } catch (error) {
      if (error instanceof api.Unreachable) this.dispatchEvent(new CustomEvent("unreachable", { detail: error }));
      else if (error instanceof api.Refused) this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    } finally {
      this.#busy = false;
    }
  }

  #missing() {
    const [from, to] = this.#wanted;
    return this.ids.slice(from, to).filter((id) => !this.items.has(id)).slice(0, CHUNK);
  }

  /** Take over pictures as they are now, as this list's queue shows them; those of other lists are passed over. */
  update(items) {
    const own = items.filter((item) => this.#positions.has(item.id));
    this.#put(own);
    for (const item of own) this.seen[item.id] = item.decision?.batch ?? 0;
    if (own.length) this.#changed();
  }

  /** Ask for these pictures again, once they are looked at. */
  forget(ids) {
    for (const id of ids) this.items.delete(id);
    this.#changed();
  }

  /** The batch of the decision that this list shows for a picture; 0 for none, −1 for one of ours that is under way. */
  seenOf(id) {
    if (underWay.has(id)) return -1;
    const item = this.items.get(id);
    if (item) return item.decision?.batch ?? 0;
    return this.seen[id] ?? 0;
  }

  /** The first position after `from` that waits for a decision, in the given direction and round the end; −1 for none. */
  nextOpen(from, direction = 1) {
    const length = this.ids.length;
    for (let step = 1; step <= length; step += 1) {
      const index = (((from + direction * step) % length) + length) % length;
      const id = this.ids[index];
      if (this.seenOf(id) === 0 && waits(this.items.get(id))) return index;
    }
    return -1;
  }

  changed() {
    this.#changed();
  }

  #put(items) {
    for (const item of items) this.items.set(item.id, item);
  }

  #order(ids) {
    this.ids = ids;
    this.total = ids.length;
    this.#positions = new Map(ids.map((id, index) => [id, index]));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Whether a picture stays in its cluster while its copies leave. */
export function isKeeper(item) {
  return Boolean(item.cluster) && (item.keeper === item.id || (!item.keeper && !item.reason));
}

/** Whether a picture is the copy that stays as things are: as proposed, or as a person decided. */
export function stays(item) {
  return item.decision ? item.decision.action === "keeper" : isKeeper(item);
}

/** Whether something is proposed for a picture: another class, or that it leaves. */
export function proposes(item) {
  return !isKeeper(item) && Boolean(item.proposed || item.reason);
}

/** Whether a picture that has no decision needs one; of a picture that is not known yet it is supposed. */
function waits(item) {
  return item === undefined || (item !== null && !isKeeper(item));
}

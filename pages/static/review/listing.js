// One list of pictures, in order. Its ids are taken once, so that no picture moves or is passed over while one decides;
// what the pictures are is fetched where the reviewer looks.

import * as api from "./api.js";

const FIRST = 200;
const CHUNK = 120;

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
    return this.items.get(this.ids[index]);
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

  /** Take over pictures as they are now; those of other lists are passed over. */
  update(items) {
    const own = items.filter((item) => this.#positions.has(item.id));
    for (const item of own) {
      const known = this.items.get(item.id);
      // What a queue says of a picture is the queue's own: a change elsewhere is a change of its decision
      this.items.set(item.id, known ? { ...known, ...moved(item), decision: item.decision } : item);
      this.seen[item.id] = item.decision?.batch ?? 0;
    }
    if (own.length) this.#changed();
  }

  /** Set what is decided on a picture, before the server has said so. */
  mark(id, decision) {
    const known = this.items.get(id);
    if (known) this.items.set(id, { ...known, decision });
    this.seen[id] = decision ? (decision.batch ?? -1) : 0;
  }

  /** The batch of the decision that this list shows for a picture; 0 for none, −1 for one of ours that is under way. */
  seenOf(id) {
    const item = this.items.get(id);
    if (item) return item.decision ? (item.decision.batch ?? -1) : 0;
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

function moved({ path, label, split, present }) {
  return { path, label, split, present };
}

/** Whether a picture stays in its cluster while its copies leave. */
export function isKeeper(item) {
  return Boolean(item.cluster) && (item.keeper === item.id || (!item.keeper && !item.reason));
}

/** Whether something is proposed for a picture: another class, or that it leaves. */
export function proposes(item) {
  return !isKeeper(item) && Boolean(item.proposed || item.reason);
}

/** Whether a picture that has no decision needs one; of a picture that is not known yet it is supposed. */
function waits(item) {
  return item === undefined || (item !== null && !isKeeper(item));
}

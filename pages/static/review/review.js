// What the page shows: the place, its list, the picture that keys act on, and the selection. Whoever draws listens here.

import * as api from "./api.js";
import { debounced } from "./dom.js";
import { Listing } from "./listing.js";
import { START, filtersOf, sameList, write } from "./place.js";
import { queueTitle } from "./words.js";

export class Review extends EventTarget {
  overview = null;
  place = { ...START };
  listing = new Listing("");
  cursor = -1;
  /** The picture that the details show and keys act on; it need not be in the list, as on the map. */
  current = "";
  selection = new Set();
  /** Keys act on the picture in view alone, whatever is selected: it is shown large. */
  alone = false;
  #anchor = -1;
  #base = new Set();
  #going = new AbortController();

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Fetch the counts of queues and classes anew. */
  async loadOverview() {
    this.overview = await api.state();
    this.emit("overview");
    return this.overview;
  }

  refreshOverview = debounced(() => this.loadOverview().catch((error) => this.emit("failed", error)), 250);

  /** Go to a place. Its list is fetched unless it is shown already, or is `anew` to be fetched. */
  async go(place, { step = true, anew = false } = {}) {
    const same = !anew && this.listing.queue && sameList(place, this.place);
    this.place = place;
    write(place, { step });
    this.emit("place");
    if (same) {
      const index = this.listing.positionOf(place.at);
      if (index >= 0) this.setCursor(index);
      return;
    }
    this.#going.abort();
    this.#going = new AbortController();
    const { signal } = this.#going;
    this.emit("loading");
    try {
      const listing = place.like ? await alike(place.like, signal) : await this.#ofPlace(place, signal);
      if (!signal.aborted) this.show(listing, place.at, signal);
    } catch (error) {
      if (!signal.aborted) this.emit("failed", error);
    }
  }

  /** Fetch the list anew: more changed than was told. */
  reload() {
    if (!this.listing.title) return this.go(this.place, { step: false, anew: true });
    for (const id of this.listing.ids) this.listing.items.delete(id);
    this.listing.changed();
    return null;
  }

  #ofPlace(place, signal) {
    return Listing.ofQueue(place.queue, filtersOf(place), signal);
  }

  /** Show a list, with the cursor at a picture or at the first that is open. */
  show(listing, at = "", signal = null) {
    this.listing.close();
    this.listing = listing;
    this.cursor = -1;
    this.select([]);
    for (const name of ["change", "unreachable", "refused"])
      listing.addEventListener(name, (event) => {
        if (this.listing !== listing) return;
        if (name === "change") this.emit("change");
        else this.emit("failed", event.detail);
      });
    this.emit("listing");
    const known = listing.positionOf(at);
    this.setCursor(known >= 0 ? known : this.#firstOpen(), { scroll: "center" });
    listing.complete
      .then(() => {
        if (this.listing !== listing) return;
        const index = listing.positionOf(at && known < 0 ? at : this.current);
        this.setCursor(index >= 0 ? index : this.#firstOpen(), { scroll: at && known < 0 ? "center" : "nearest" });
        this.emit("complete");
      })
      .catch((error) => signal?.aborted || this.emit("failed", error));
  }

  #firstOpen() {
    const open = this.listing.nextOpen(-1);
    return open >= 0 ? open : Math.min(0, this.listing.total - 1);
  }

  /** Move the cursor to a position; `range` selects all from where the selection began. */
  setCursor(index, { scroll = "nearest", range = false, hovered = false } = {}) {
    const { total, ids } = this.listing;
    const next = total ? Math.min(Math.max(index, 0), total - 1) : -1;
    if (range) {
      if (this.#anchor < 0) this.#begin(Math.max(0, this.cursor));
      const [from, to] = [Math.min(this.#anchor, next), Math.max(this.#anchor, next)];
      this.#choose(new Set([...this.#base, ...ids.slice(from, to + 1)]));
    } else if (!hovered) this.#anchor = -1;
    this.cursor = next;
    this.current = ids[next] ?? "";
    if (this.place.at !== this.current && this.current) {
      this.place = { ...this.place, at: this.current };
      this.#writePlace();
    }
    this.emit("cursor", { scroll: hovered ? "" : scroll });
  }

  #writePlace = debounced(() => write(this.place), 200);

  /** Look at a picture that need not be in the list. */
  lookAt(id) {
    const index = this.listing.positionOf(id);
    if (index >= 0) this.setCursor(index, { hovered: true });
    else {
      this.current = id;
      this.emit("cursor", { scroll: "" });
    }
  }

  #begin(index) {
    this.#anchor = index;
    this.#base = new Set(this.selection);
  }

  toggle(index) {
    const id = this.listing.ids[index];
    if (!id) return;
    const chosen = new Set(this.selection);
    if (!chosen.delete(id)) chosen.add(id);
    this.#choose(chosen);
    this.#begin(index);
  }

  /** Select exactly these pictures. */
  select(ids) {
    this.#anchor = -1;
    this.#choose(new Set(ids));
  }

  #choose(chosen) {
    if (!chosen.size && !this.selection.size) return;
    this.selection = chosen;
    this.emit("selection");
  }

  /** The pictures that a key acts on: what is selected, else the one under the cursor. */
  targets() {
    if (this.selection.size && !this.alone) return [...this.selection];
    return this.current ? [this.current] : [];
  }

  /** The picture under the cursor, where the list knows it. */
  item() {
    return this.listing.get(this.current) ?? null;
  }

  /** What the list is called. */
  title() {
    return this.listing.title || queueTitle(this.overview, this.place.queue);
  }
}

async function alike(id, signal) {
  const told = await api.alike(id, signal);
  return Listing.ofItems(told.items, "all", "More like this", told.why);
}

// The review page: makes its parts and joins them.

import * as api from "./api.js";
import { bindings, buttonsFor, decideButton } from "./actions.js";
import { carryOut } from "./carryout.js";
import { Changes } from "./changes.js";
import { openLarge } from "./compare.js";
import { Decisions } from "./decisions.js";
import { Details } from "./details.js";
import { isOpen } from "./dialogs.js";
import { byId, el, fill } from "./dom.js";
import { NARROWING, drawFilters } from "./filters.js";
import { Grid, SIZES } from "./grid.js";
import { openHelp } from "./help.js";
import { openHistory } from "./history.js";
import { listen } from "./keys.js";
import { proposes } from "./listing.js";
import { PictureMap } from "./map.js";
import { announce, banner, notice } from "./notices.js";
import { START, fromHash, lastPlace } from "./place.js";
import { drawQueues } from "./queues.js";
import { Review } from "./review.js";
import { keepSetting, setting } from "./settings.js";
import { retryThumbnails } from "./tile.js";
import { count, number } from "./words.js";

const DWELL = 150; // ms the mouse rests on a tile before the details follow
const RETRY = 2000;
const SIZE = "review.size";

class Page {
  #hovered = -1;
  #hover = 0;
  #started = false;
  #counting = false;

  constructor() {
    this.review = new Review();
    this.decisions = new Decisions(this.review);
    this.scroller = byId("grid");
    this.grid = new Grid(this.scroller, this.review);
    const size = setting(SIZE);
    this.grid.size = Object.hasOwn(SIZES, size) ? size : "medium";
    this.details = new Details(this.review, {
      open: () => this.large(false),
      compare: () => this.large(true),
      undo: (batch) => this.decisions.undo(batch),
    });
    this.map = new PictureMap(this.review, () => this.setLayout("grid"));
    this.changes = new Changes(this.review, this.decisions);
    this.bindings = bindings(this);
    drawQueues(this.review, (queue) => this.goQueue(queue));
    drawFilters(this.review);
    listen(this.bindings, this.scroller);
    this.#listenToReview();
    this.#listenToGrid();
    this.#listenToButtons();
  }

  /** Ask for what there is, until the server answers; then show the place that the address names. */
  async start() {
    try {
      const overview = await this.review.loadOverview();
      banner("");
      document.title = `Review: ${overview.dataset}`;
      this.changes.start(overview.revision);
      const kept = this.decisions.outbox.restore(overview.dataset);
      if (kept) notice(`${count(kept, "decision")} that an earlier page could not save ${kept === 1 ? "is" : "are"} sent now.`);
      this.#started = true;
      await this.review.go(this.#placeOf(location.hash), { step: false, anew: true });
      this.scroller.focus({ preventScroll: true });
    } catch (error) {
      banner(`${error.message} Trying again…`, { title: "Try now", run: () => location.reload() });
      setTimeout(() => this.start(), RETRY);
    }
  }

  #placeOf(hash) {
    const place = fromHash(hash);
    const { queues } = this.review.overview;
    if (queues.some((queue) => queue.name === place.queue)) return place;
    const first = queues.find((queue) => queue.open && queue.name !== "all") ?? queues.find((queue) => queue.name === "all");
    return { ...place, queue: first?.name ?? queues[0].name };
  }

  #listenToReview() {
    const { review } = this;
    review.addEventListener("listing", () => {
      this.#hovered = -1;
      this.grid.setListing(review.listing);
      this.#showCounts();
      this.#showActions();
    });
    review.addEventListener("loading", () => {
      this.scroller.setAttribute("aria-busy", "true");
      byId("empty").textContent = "";
    });
    review.addEventListener("complete", () => this.#showCounts());
    review.addEventListener("change", () => {
      this.grid.refresh();
      this.#showCounts();
      this.#showActions();
    });
    review.addEventListener("cursor", ({ detail }) => {
      if (detail.scroll) this.grid.scrollTo(review.cursor, detail.scroll);
      this.grid.refresh();
      this.#showActions();
    });
    review.addEventListener("selection", () => {
      this.grid.refresh();
      this.#showCounts();
      this.#showActions();
    });
    review.addEventListener("overview", () => this.#showOverview());
    review.addEventListener("place", () => this.#showLayout());
    review.addEventListener("failed", ({ detail }) => {
      if (!(detail instanceof api.Unreachable)) notice(detail.message, { bad: true });
    });
    review.addEventListener("found", () => {
      retryThumbnails();
      if (review.listing.queue) this.grid.refresh();
      else review.go(review.place, { step: false, anew: true });
    });
    addEventListener("popstate", () => this.#started && review.go(this.#placeOf(location.hash), { step: false }));
    addEventListener("beforeunload", (event) => {
      if (this.decisions.outbox.entries.length) event.preventDefault();
    });
    for (const name of ["change", "unreachable"]) this.decisions.outbox.addEventListener(name, () => this.#showUnsaved());
    this.decisions.addEventListener("cleared", () => {
      const next = this.decisions.nextQueue();
      if (next && next !== review.place.queue)
        notice(`Nothing open is left in ${review.title()}.`, { action: { title: "Next queue ( ] )", run: () => this.goQueue(next) } });
    });
  }

  #listenToGrid() {
    const { grid, review } = this;
    let base = new Set();
    grid.addEventListener("hover", ({ detail }) => {
      clearTimeout(this.#hover);
      this.#hovered = detail;
      if (detail >= 0) this.#hover = setTimeout(() => this.settleHover(), DWELL);
    });
    grid.addEventListener("press", ({ detail: { index, range, toggle } }) => {
      this.scroller.focus({ preventScroll: true });
      this.#forgetHover();
      if (toggle) review.toggle(index);
      review.setCursor(index, { range, scroll: "nearest" });
    });
    grid.addEventListener("open", ({ detail }) => {
      review.setCursor(detail);
      this.large(false);
    });
    grid.addEventListener("rectangle", ({ detail: { phase, keep, hits } }) => {
      if (phase === "start") base = keep ? new Set(review.selection) : new Set();
      else if (phase === "move") review.select([...base, ...hits.map((index) => review.listing.ids[index]).filter(Boolean)]);
      else announce(`${count(review.selection.size, "picture")} selected.`);
    });
  }

  #listenToButtons() {
    const buttons = {
      "button-undo": () => this.decisions.undo(),
      "button-help": () => openHelp(this.bindings),
      "button-history": () => openHistory((batch) => this.decisions.undo(batch)),
      "button-carry": () => this.carryOut(),
      "button-accept": () => this.acceptAll(),
      "button-all": () => this.selectAll(),
      "button-none": () => this.escape(),
      "button-back": () => this.review.go({ ...this.review.place, like: "" }, { anew: true }),
      "layout-grid": () => this.setLayout("grid"),
      "layout-list": () => this.setLayout("list"),
      "layout-map": () => this.setLayout("map"),
    };
    for (const [id, run] of Object.entries(buttons)) byId(id).addEventListener("click", run);
    const filters = byId("filters");
    const narrow = matchMedia("(max-width: 900px)");
    const open = () => (filters.open = !narrow.matches);
    narrow.addEventListener("change", open);
    open();
  }

  /** The picture under the mouse becomes the one that keys act on. */
  settleHover() {
    clearTimeout(this.#hover);
    const index = this.#hovered;
    this.#forgetHover();
    if (index >= 0 && index !== this.review.cursor) this.review.setCursor(index, { hovered: true });
  }

  #forgetHover() {
    clearTimeout(this.#hover);
    this.#hovered = -1;
  }

  move(amount, range) {
    this.settleHover();
    this.review.setCursor(this.review.cursor + amount, { range });
  }

  moveOpen(direction) {
    this.settleHover();
    const next = this.review.listing.nextOpen(this.review.cursor, direction);
    if (next >= 0) this.review.setCursor(next);
    else announce(`Nothing open is left in ${this.review.title()}.`);
  }

  goQueue(queue) {
    this.review.go(lastPlace(queue, this.review.place.layout === "map" ? "grid" : this.review.place.layout), { anew: true });
    announce(`${this.review.title()}.`);
    this.scroller.focus({ preventScroll: true });
  }

  nextQueue(direction) {
    const queue = this.decisions.nextQueue(direction);
    if (queue) this.goQueue(queue);
    else notice("No queue has anything open.");
  }

  moreLikeThis() {
    this.settleHover();
    const { review } = this;
    if (review.current) review.go({ ...review.place, like: review.current, layout: this.#listLayout(), at: "" });
  }

  #listLayout() {
    return this.review.place.layout === "list" ? "list" : "grid";
  }

  large(copies) {
    this.settleHover();
    if (this.review.current) openLarge(this, { copies });
  }

  setLayout(layout) {
    this.review.go({ ...this.review.place, layout }, { step: true });
  }

  toggleLayout() {
    this.setLayout(this.review.place.layout === "list" ? "grid" : "list");
  }

  resize(step) {
    const sizes = Object.keys(SIZES);
    const at = Math.min(sizes.length - 1, Math.max(0, sizes.indexOf(this.grid.size) + step));
    this.grid.size = sizes[at];
    keepSetting(SIZE, sizes[at]);
    this.grid.measure();
    this.grid.scrollTo(this.review.cursor);
  }

  toggleSelected() {
    this.settleHover();
    this.review.toggle(this.review.cursor);
    announce(`${count(this.review.selection.size, "picture")} selected.`);
  }

  selectAll() {
    this.review.select(this.review.listing.ids);
    announce(`${count(this.review.selection.size, "picture")} selected.`);
  }

  escape() {
    this.review.select([]);
    this.scroller.focus({ preventScroll: true });
  }

  focusFilter(name) {
    byId("filters").open = true;
    byId(`filter-${name}`).focus();
  }

  async acceptAll() {
    const { listing } = this.review;
    await listing.complete.catch(() => {});
    const open = listing.ids.filter((id) => listing.seenOf(id) === 0);
    this.decisions.accept(open, this.#proposalsLeft());
  }

  /** What was decided a moment ago is saved first, so that it is counted too. */
  async carryOut() {
    if (this.#counting) return;
    this.#counting = true;
    try {
      if (!(await this.decisions.outbox.emptied()))
        notice("Some decisions are not saved yet: they come first.", { bad: true });
      else if (!isOpen()) await carryOut(this.review); // what was refused opens a dialog of its own
    } finally {
      this.#counting = false;
    }
  }

  #showOverview() {
    const { overview } = this.review;
    byId("dataset").textContent = overview.dataset;
    byId("dataset").title = overview.dataset;
    const notes = overview.notes ?? [];
    fill(byId("notes"), notes.map((note) => el("p", {}, withCode(note))));
    const { aside = 0, relabel = 0, restore = 0 } = overview.decided;
    const waiting = aside + relabel + restore;
    byId("carry-count").textContent = waiting ? ` (${number(waiting)})` : "";
    byId("button-carry").classList.toggle("primary", waiting > 0);
    this.grid.refresh();
  }

  #showCounts() {
    const { listing, selection } = this.review;
    this.scroller.removeAttribute("aria-busy");
    this.scroller.setAttribute("aria-label", `Pictures: ${this.review.title()}`);
    byId("empty").textContent = listing.total ? "" : listing.why || this.#nothing();
    byId("empty").hidden = listing.total > 0;
    const chosen = selection.size;
    byId("chosen").textContent = chosen ? `${number(chosen)} selected` : "";
    byId("button-none").hidden = !chosen;
    byId("button-all").hidden = !listing.total || chosen > 0;
    byId("button-back").hidden = !listing.title;
    const open = this.#proposalsLeft();
    byId("button-accept").hidden = chosen > 0 || !open || listing.queue === "quarantine";
    byId("accept-count").textContent = number(open);
    const most = count(listing.total, "picture");
    byId("shown").textContent = `${this.review.title()}: ${open ? `${number(open)} open, ${most}` : most}`;
  }

  /** How many of what is shown propose something that was not decided on. */
  #proposalsLeft() {
    const { listing } = this.review;
    let left = listing.proposals;
    for (const [id, item] of listing.items) if (item && listing.seenOf(id) !== 0 && proposes(item)) left -= 1;
    return Math.max(0, left);
  }

  #nothing() {
    const { place } = this.review;
    const filtered = NARROWING.some((name) => name !== "state" && place[name] !== START[name]);
    if (filtered) return "Nothing here fits the filters.";
    return place.state === "open" ? "Nothing is open here." : "Nothing is here.";
  }

  #showActions() {
    const bar = byId("actions");
    const focused = bar.contains(document.activeElement) ? document.activeElement.dataset.key : "";
    const buttons = this.review.current || this.review.selection.size ? buttonsFor(this) : [];
    fill(bar, buttons.map((button) => decideButton(button)));
    if (focused) bar.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  #showLayout() {
    const { layout } = this.review.place;
    for (const name of ["grid", "list", "map"]) byId(`layout-${name}`).setAttribute("aria-pressed", String(name === layout));
    const onMap = layout === "map";
    byId("list-area").hidden = onMap;
    byId("map-area").hidden = !onMap;
    this.map.show(onMap);
    if (!onMap && this.grid.layout !== layout) {
      this.grid.layout = layout === "list" ? "list" : "grid";
      this.grid.measure();
      this.grid.scrollTo(this.review.cursor, "center");
    }
  }

  #showUnsaved() {
    const { entries } = this.decisions.outbox;
    const waiting = entries.some((entry) => entry.tries > 1 || (entry.tries && !entry.inFlight)) ? entries.length : 0;
    byId("unsaved").textContent = waiting ? `${count(waiting, "decision")} not saved` : "";
  }
}

/** A sentence in which `a command` stands between backticks. */
function withCode(words) {
  return words.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

new Page().start();

// The list as a grid of tiles or as lines. Only the rows that are seen are in the document, whatever the list's length;
// thumbnails are asked for once scrolling slows down.

import { el } from "./dom.js";
import { Tile } from "./tile.js";

const PAD = 12;
const GAP = 10;
const CAPTION = 44;
const LINE = 96;
const MORE = 2; // rows beyond what is seen, above and below
const FAST = 4; // px per ms: thumbnails that fly past are not loaded
const REST = 90; // ms
const DRAG = 6; // px before a press becomes a rectangle
const EDGE = 36; // px from the edge within which a rectangle scrolls the list

export const SIZES = { small: 108, medium: 164, large: 250 };

export class Grid extends EventTarget {
  columns = 1;
  layout = "grid";
  size = "medium";
  #rows = new Map();
  #listing = null;
  #frame = 0;
  #rest = 0;
  #fast = false;
  #last = { top: 0, time: 0 };
  #tileWidth = 0;
  #rowHeight = 1;
  #mouse = { x: -1, y: -1 };
  #place = null; // of the mouse in the window, while it is over the list
  #wheeled = false;

  /** `state` tells the cursor, the selection and the overview; `scroller` is the element with role grid. */
  constructor(scroller, state) {
    super();
    this.scroller = scroller;
    this.state = state;
    this.field = el("div", { class: "field", role: "presentation" });
    scroller.append(this.field);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(scroller);
    this.#listenToPointer();
  }

  setListing(listing) {
    this.#listing = listing;
    for (const row of this.#rows.values()) this.#drop(row);
    this.#rows.clear();
    this.scroller.scrollTop = 0;
    this.measure();
  }

  /** Take over another layout, size or width; the cursor stays in sight. */
  measure() {
    const width = this.scroller.clientWidth - 2 * PAD;
    const listed = this.layout === "list";
    const least = width < 420 ? Math.min(SIZES[this.size], width / 3 - GAP) : SIZES[this.size];
    const columns = listed ? 1 : Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    const seen = this.#rowSeen();
    const anew = columns !== this.columns || listed !== this.listed;
    this.columns = columns;
    this.listed = listed;
    this.#tileWidth = listed ? width : Math.floor((width - GAP * (columns - 1)) / columns);
    this.#rowHeight = listed ? LINE : Math.round(this.#tileWidth * 0.75) + CAPTION;
    if (anew) {
      for (const row of this.#rows.values()) this.#drop(row);
      this.#rows.clear();
    }
    this.scroller.classList.toggle("listed", listed);
    this.#resize();
    if (anew && seen) this.scrollTo(this.state.cursor, "nearest");
    this.#draw();
  }

  /** Draw what is seen again: pictures came, or something was decided. */
  refresh() {
    this.#resize();
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Bring a position into sight. */
  scrollTo(index, block = "nearest") {
    if (index < 0) return;
    const top = this.#topOf(Math.floor(index / this.columns));
    const { scrollTop, clientHeight } = this.scroller;
    const bottom = top + this.#rowHeight;
    if (block === "center") this.scroller.scrollTop = top - (clientHeight - this.#rowHeight) / 2;
    else if (top - GAP < scrollTop) this.scroller.scrollTop = Math.max(0, top - PAD);
    else if (bottom + GAP > scrollTop + clientHeight) this.scroller.scrollTop = bottom + PAD - clientHeight;
    this.refresh();
  }

  /** Rows that fit into what is seen. */
  get rowsSeen() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / this.#pitch));
  }

  get #pitch() {
    return this.#rowHeight + (this.layout === "list" ? 4 : GAP);
  }

  #topOf(row) {
    return PAD + row * this.#pitch;
  }

  #rowSeen() {
    const row = Math.floor(Math.max(0, this.state.cursor) / this.columns);
    const top = this.#topOf(row) - this.scroller.scrollTop;
    return top > -this.#rowHeight && top < this.scroller.clientHeight;
  }

  #resize() {
    const rows = Math.ceil((this.#listing?.total ?? 0) / this.columns);
    this.field.style.height = `${rows ? this.#topOf(rows) + PAD - GAP : 0}px`;
    this.scroller.setAttribute("aria-rowcount", rows);
    this.scroller.setAttribute("aria-colcount", this.columns);
  }

  #scrolled() {
    const now = performance.now();
    const top = this.scroller.scrollTop;
    this.#fast = Math.abs(top - this.#last.top) / Math.max(1, now - this.#last.time) > FAST;
    this.#last = { top, time: now };
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      this.#fast = false;
      this.#draw();
      // The wheel brings another picture under the mouse, as moving it does
      if (this.#wheeled && this.#place) this.#emit("hover", indexOf(document.elementFromPoint(...this.#place)));
      this.#wheeled = false;
    }, REST);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const listing = this.#listing;
    if (!listing) return;
    const rows = Math.ceil(listing.total / this.columns);
    const { scrollTop, clientHeight } = this.scroller;
    const from = Math.max(0, Math.floor((scrollTop - PAD) / this.#pitch) - MORE);
    const to = Math.min(rows, Math.ceil((scrollTop + clientHeight) / this.#pitch) + MORE);
    const wanted = new Set();
    for (let row = from; row < to; row += 1) wanted.add(row);
    // The cursor's own row stays, so that a screen reader does not lose it
    if (this.state.cursor >= 0 && rows) wanted.add(Math.min(rows - 1, Math.floor(this.state.cursor / this.columns)));
    for (const [row, made] of this.#rows)
      if (!wanted.has(row)) {
        this.#drop(made);
        this.#rows.delete(row);
      }
    for (const row of [...wanted].sort((one, other) => one - other)) this.#drawRow(row);
    const active = this.state.cursor >= 0 && this.state.cursor < listing.total ? `tile-${this.state.cursor}` : "";
    if (active) this.scroller.setAttribute("aria-activedescendant", active);
    else this.scroller.removeAttribute("aria-activedescendant");
    if (!this.#fast) listing.need(from * this.columns, to * this.columns);
  }

  #drawRow(row) {
    let made = this.#rows.get(row);
    if (!made) {
      made = { element: el("div", { role: "row", class: "row", "aria-rowindex": row + 1 }), tiles: [] };
      this.#rows.set(row, made);
      this.#insert(made.element, row);
    }
    const { style } = made.element;
    style.transform = `translateY(${this.#topOf(row)}px)`;
    style.height = `${this.#rowHeight}px`;
    style.gridTemplateColumns = `repeat(${this.columns}, minmax(0, 1fr))`;
    const start = row * this.columns;
    const end = Math.min(this.#listing.total, start + this.columns);
    while (made.tiles.length > end - start) made.tiles.pop().element.remove();
    for (let index = start; index < end; index += 1) {
      let tile = made.tiles[index - start];
      if (!tile) {
        tile = new Tile(this.listed);
        made.tiles.push(tile);
        made.element.append(tile.element);
      }
      const id = this.#listing.ids[index] ?? "";
      tile.show({
        item: this.#listing.at(index),
        id,
        index,
        column: index - start,
        current: index === this.state.cursor,
        selected: this.state.selection.has(id),
        overview: this.state.overview,
        size: this.#tileWidth * devicePixelRatio > 200 && !this.listed ? 320 : 160,
      });
      if (!this.#fast) tile.load();
    }
  }

  /** Rows stand in the document in their order, as they are read. */
  #insert(element, row) {
    const later = [...this.field.children].find((other) => Number(other.getAttribute("aria-rowindex")) > row + 1);
    this.field.insertBefore(element, later ?? null);
  }

  #drop(made) {
    for (const tile of made.tiles) tile.drop();
    made.element.remove();
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #listenToPointer() {
    const { scroller } = this;
    const positionOf = (event) => indexOf(event.target);
    let dragged = false;
    scroller.addEventListener("pointermove", (event) => {
      // Scrolling under a mouse at rest moves tiles below it, and is no move of the mouse
      if (event.pointerType !== "mouse" || (event.screenX === this.#mouse.x && event.screenY === this.#mouse.y)) return;
      this.#mouse = { x: event.screenX, y: event.screenY };
      this.#place = [event.clientX, event.clientY];
      if (!event.buttons) this.#emit("hover", positionOf(event));
    });
    scroller.addEventListener("pointerleave", () => {
      this.#place = null;
      this.#emit("hover", -1);
    });
    scroller.addEventListener("wheel", () => (this.#wheeled = true), { passive: true });
    scroller.addEventListener("pointerdown", (event) => {
      dragged = false;
      if (event.button === 0 && event.pointerType !== "touch" && this.#inField(event))
        this.#drag(event, () => (dragged = true));
    });
    scroller.addEventListener("click", (event) => {
      const index = positionOf(event);
      if (dragged || index < 0) return;
      this.#emit("press", {
        index,
        range: event.shiftKey,
        toggle: event.ctrlKey || event.metaKey || Boolean(event.target.closest(".check")),
      });
    });
    scroller.addEventListener("dblclick", (event) => positionOf(event) >= 0 && this.#emit("open", positionOf(event)));
  }

  #inField(event) {
    return event.clientX < this.scroller.getBoundingClientRect().left + this.scroller.clientWidth;
  }

  /** A rectangle drawn over tiles selects them. */
  #drag(down, began) {
    const box = this.scroller.getBoundingClientRect();
    const inField = (event) => ({
      x: event.clientX - box.left,
      y: event.clientY - box.top + this.scroller.scrollTop,
    });
    const start = inField(down);
    let last = down;
    let rectangle = null;
    let timer = 0;
    const move = (event) => {
      last = event;
      const now = inField(event);
      if (!rectangle) {
        if (Math.hypot(now.x - start.x, now.y - start.y) < DRAG) return;
        rectangle = el("div", { class: "rectangle", role: "presentation" });
        this.field.append(rectangle);
        this.scroller.setPointerCapture(down.pointerId);
        began();
        this.#emit("rectangle", { phase: "start", keep: down.shiftKey || down.ctrlKey || down.metaKey });
        timer = setInterval(() => this.#scrollAtEdge(last, box) && move(last), 30);
      }
      const [left, right] = [Math.min(start.x, now.x), Math.max(start.x, now.x)];
      const [top, bottom] = [Math.min(start.y, now.y), Math.max(start.y, now.y)];
      Object.assign(rectangle.style, {
        transform: `translate(${left}px, ${top}px)`, width: `${right - left}px`, height: `${bottom - top}px`,
      });
      this.#emit("rectangle", { phase: "move", hits: this.#within(left, right, top, bottom) });
    };
    const released = new AbortController();
    const { signal } = released;
    const end = () => {
      released.abort();
      clearInterval(timer);
      rectangle?.remove();
      if (rectangle) this.#emit("rectangle", { phase: "end" });
    };
    this.scroller.addEventListener("pointermove", move, { signal });
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, end, { signal });
  }

  #scrollAtEdge(event, box) {
    const before = this.scroller.scrollTop;
    if (event.clientY < box.top + EDGE) this.scroller.scrollTop -= 18;
    else if (event.clientY > box.bottom - EDGE) this.scroller.scrollTop += 18;
    return this.scroller.scrollTop !== before;
  }

  /** The positions of tiles that a rectangle touches: by reckoning, as most of them are not in the document. */
  #within(left, right, top, bottom) {
    const pitchX = this.#tileWidth + GAP;
    const found = [];
    const lastRow = Math.min(Math.ceil(this.#listing.total / this.columns) - 1, Math.floor((bottom - PAD) / this.#pitch));
    for (let row = Math.max(0, Math.floor((top - PAD) / this.#pitch)); row <= lastRow; row += 1) {
      if (this.#topOf(row) + this.#rowHeight < top) continue;
      for (let column = 0; column < this.columns; column += 1) {
        const x = PAD + column * pitchX;
        const index = row * this.columns + column;
        if (x <= right && x + this.#tileWidth >= left && index < this.#listing.total) found.push(index);
      }
    }
    return found;
  }
}

/** The position of the tile that an element belongs to; −1 where it is none. */
function indexOf(element) {
  const tile = element?.closest?.("[data-index]");
  return tile ? Number(tile.dataset.index) : -1;
}

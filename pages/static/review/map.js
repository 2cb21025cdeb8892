// The map: each picture a point, near those that look alike to the network. A loop drawn round points selects them.

import * as api from "./api.js";
import { byId, el, fill } from "./dom.js";
import { Listing } from "./listing.js";
import { announce } from "./notices.js";
import { Scatter, packed } from "./scatter.js";
import { classTitle, count, number } from "./words.js";

const DWELL = 90; // ms
const TURN = 137.508; // degrees: neighbours in a list get hues far apart
const MOST_LISTED = 200;
const COMING = 5000; // ms between questions for a map that is being made

export class PictureMap {
  #told = null;
  #index = new Map();
  #scatter = null;
  #shown = false;
  #frame = 0;
  #lit = -1;
  #tool = "loop";
  #loop = [];
  #pointers = new Map();
  #hover = 0;
  #later = 0;

  /** `toGrid()` shows the grid. */
  constructor(review, toGrid) {
    this.review = review;
    this.toGrid = toGrid;
    this.canvas = byId("map-points");
    this.overlay = byId("map-loop");
    this.note = byId("map-note");
    this.colour = byId("map-colour");
    this.legend = byId("map-legend");
    this.colour.addEventListener("change", () => this.#paint());
    for (const button of byId("map-tools").querySelectorAll("[data-tool]"))
      button.addEventListener("click", () => this.#use(button.dataset.tool));
    byId("map-fit").addEventListener("click", () => (this.#scatter?.fit(), this.#redraw()));
    byId("map-grid").addEventListener("click", () => this.#showChosen());
    review.addEventListener("selection", () => this.#mark());
    review.addEventListener("cursor", () => this.#mark());
    new ResizeObserver(() => this.#redraw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
    this.#listenToPointer();
    this.#listenToKeys();
  }

  /** Show the map, fetching its points the first time; `false` hides it. */
  async show(on) {
    this.#shown = on;
    clearTimeout(this.#later);
    if (!on) return;
    if (this.#told && !this.#told.coming) return this.#redraw();
    if (!this.#told) this.note.textContent = "Loading the map…";
    try {
      this.#take(await api.points());
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  #take(told) {
    // A better map is being made: it takes this one's place
    if (told.coming && this.#shown) this.#later = setTimeout(() => this.show(this.#shown), COMING);
    if (!told.ids.length) {
      this.note.textContent = told.why || "There is no picture to show.";
      return;
    }
    if (told.method === this.#told?.method && told.ids.length === this.#told.ids.length) return;
    this.#told = told;
    this.#index = new Map(told.ids.map((id, point) => [id, point]));
    this.#scatter ??= new Scatter(this.canvas);
    this.#scatter.resize();
    this.#scatter.setPoints(told.x, told.y);
    const better = told.coming ? "; UMAP is on its way" : "";
    this.note.textContent = `${count(told.ids.length, "picture")} by ${told.method === "umap" ? "UMAP" : "PCA"}${better}`;
    this.#paint();
    this.#mark();
  }

  #dark() {
    return matchMedia("(prefers-color-scheme: dark)").matches;
  }

  /** The groups that the legend names, and each point's. */
  #groups() {
    const { label, split, suspicion, labels, splits } = this.#told;
    const dark = this.#dark();
    if (this.colour.value === "split") {
      const hues = [145, 265, 35, 330, 200];
      return { of: split, names: splits, colours: splits.map((_, at) => fromHue(hues[at % hues.length], dark)) };
    }
    if (this.colour.value === "suspicion") {
      const names = ["under 20%", "20% to 40%", "40% to 60%", "60% to 80%", "80% and more"];
      const ramp = dark
        ? [packed(84, 92, 99), packed(128, 120, 92), packed(196, 150, 70), packed(240, 130, 70), packed(255, 92, 80)]
        : [packed(176, 180, 178), packed(190, 165, 110), packed(205, 130, 40), packed(195, 80, 20), packed(170, 20, 25)];
      return { of: suspicion.map((value) => Math.min(4, Math.floor(value / 20))), names, colours: ramp };
    }
    const names = labels.map((name) => classTitle(this.review.overview, name));
    return { of: label, names, colours: labels.map((_, at) => fromHue((at * TURN) % 360, dark, at)) };
  }

  #paint() {
    if (!this.#told) return;
    const groups = this.#groups();
    this.groups = groups;
    this.#lit = -1;
    this.#scatter.setColours(Uint32Array.from(groups.of, (group) => groups.colours[group] ?? 0));
    this.#light(-1);
    const sizes = new Array(groups.names.length).fill(0);
    for (const group of groups.of) sizes[group] += 1;
    const order = this.colour.value === "class" ? [...sizes.keys()].sort((one, other) => sizes[other] - sizes[one]) : [...sizes.keys()];
    fill(
      this.legend,
      order.filter((group) => sizes[group]).slice(0, MOST_LISTED).map((group) => {
        const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
        swatch.style.background = css(groups.colours[group]);
        return el(
          "li",
          {},
          el(
            "button",
            {
              type: "button", "aria-pressed": "false", "data-group": group,
              onclick: (event) => this.#press(group, event.shiftKey),
              onpointerenter: () => this.#lit < 0 && this.#light(group),
              onpointerleave: () => this.#lit < 0 && this.#light(-1),
            },
            swatch, el("span", {}, groups.names[group]), el("span", { class: "quiet" }, number(sizes[group])),
          ),
        );
      }),
    );
  }

  /** A group alone in colour; with Shift its pictures are selected. */
  #press(group, select) {
    if (select) return this.#choose([...this.groups.of.keys()].filter((point) => this.groups.of[point] === group), "set");
    this.#lit = this.#lit === group ? -1 : group;
    for (const button of this.legend.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.group) === this.#lit));
    this.#light(this.#lit);
  }

  #light(group) {
    const { dimmed } = this.#scatter;
    for (let point = 0; point < dimmed.length; point += 1)
      dimmed[point] = group >= 0 && this.groups.of[point] !== group ? 1 : 0;
    this.#redraw();
  }

  #mark() {
    byId("map-grid").disabled = !this.review.selection.size;
    if (!this.#scatter) return;
    const { chosen } = this.#scatter;
    chosen.fill(0);
    for (const id of this.review.selection) if (this.#index.has(id)) chosen[this.#index.get(id)] = 1;
    this.#scatter.current = this.#index.get(this.review.current) ?? -1;
    this.#redraw();
  }

  #redraw() {
    if (!this.#scatter || !this.#shown || this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => fromCss(style.getPropertyValue(name).trim());
      this.#scatter.draw({ ground: colour("--sunken"), faint: colour("--line"), ring: colour("--text") });
      this.#drawLoop(style.getPropertyValue("--focus").trim());
    });
  }

  #drawLoop(colour) {
    const { overlay } = this;
    const [width, height] = [overlay.clientWidth, overlay.clientHeight];
    if (overlay.width !== width * devicePixelRatio) overlay.width = width * devicePixelRatio;
    if (overlay.height !== height * devicePixelRatio) overlay.height = height * devicePixelRatio;
    const context = overlay.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.#loop.length < 2) return;
    context.beginPath();
    for (const [x, y] of this.#loop) context.lineTo(x, y);
    context.closePath();
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineWidth = 2;
    context.globalAlpha = 0.12;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }

  #use(tool) {
    this.#tool = tool;
    for (const button of byId("map-tools").querySelectorAll("[data-tool]"))
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    this.overlay.classList.toggle("moving", tool === "move");
  }

  /** Select points: in place of what was selected, added to it, or taken from it. */
  #choose(points, how) {
    const ids = points.map((point) => this.#told.ids[point]);
    const chosen = how === "set" ? new Set() : new Set(this.review.selection);
    for (const id of ids) how === "take" ? chosen.delete(id) : chosen.add(id);
    this.review.select(chosen);
    announce(`${count(chosen.size, "picture")} selected.`);
  }

  #showChosen() {
    const ids = [...this.review.selection];
    if (!ids.length) return;
    this.review.show(Listing.ofIds(ids, "all", "Chosen on the map"));
    this.toGrid();
  }

  #listenToPointer() {
    const { overlay } = this;
    const at = (event) => [event.offsetX, event.offsetY];
    let moving = false;
    overlay.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#scatter?.zoom(Math.exp(-event.deltaY / 300), ...at(event));
      this.#redraw();
    }, { passive: false });
    overlay.addEventListener("contextmenu", (event) => event.preventDefault());
    overlay.addEventListener("pointerdown", (event) => {
      if (!this.#scatter) return;
      overlay.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, at(event));
      moving = this.#tool === "move" || event.button > 0 || this.#pointers.size > 1;
      this.#loop = moving ? [] : [at(event)];
    });
    overlay.addEventListener("pointermove", (event) => {
      const before = this.#pointers.get(event.pointerId);
      if (!before) return this.#hovered(...at(event));
      const now = at(event);
      if (this.#pointers.size === 2) this.#pinch(event.pointerId, before, now);
      else if (moving) this.#scatter.move(now[0] - before[0], now[1] - before[1]);
      else this.#loop.push(now);
      this.#pointers.set(event.pointerId, now);
      this.#redraw();
    });
    const end = (event) => {
      if (!this.#pointers.delete(event.pointerId)) return;
      const loop = this.#loop;
      this.#loop = [];
      if (event.type === "pointerup" && loop.length) this.#closed(loop, event);
      this.#redraw();
    };
    overlay.addEventListener("pointerup", end);
    overlay.addEventListener("pointercancel", end);
  }

  #closed(loop, event) {
    const how = event.shiftKey || event.ctrlKey || event.metaKey ? "add" : event.altKey ? "take" : "set";
    const spread = loop.some(([x, y]) => Math.hypot(x - loop[0][0], y - loop[0][1]) > 6);
    if (spread) return this.#choose(this.#scatter.within(loop), how);
    // A click: the point there
    const point = this.#scatter.nearest(...loop[0]);
    if (point < 0) return how === "set" ? this.review.select([]) : null;
    const id = this.#told.ids[point];
    if (how !== "set") return this.#choose([point], this.review.selection.has(id) ? "take" : "add");
    this.review.select([]);
    return this.review.lookAt(id);
  }

  #pinch(moved, before, now) {
    const [[, other]] = [...this.#pointers].filter(([id]) => id !== moved);
    const distance = (place) => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
    this.#scatter.zoom(distance(now) / distance(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    this.#scatter.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  #hovered(x, y) {
    clearTimeout(this.#hover);
    this.#hover = setTimeout(() => {
      const point = this.#scatter?.nearest(x, y) ?? -1;
      if (point >= 0 && this.#told.ids[point] !== this.review.current) this.review.lookAt(this.#told.ids[point]);
    }, DWELL);
  }

  #listenToKeys() {
    const step = 40;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    this.overlay.addEventListener("keydown", (event) => {
      if (!this.#scatter || event.ctrlKey || event.metaKey || event.altKey) return;
      const middle = [this.overlay.clientWidth / 2, this.overlay.clientHeight / 2];
      if (event.key in moves) this.#scatter.move(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") this.#scatter.zoom(1.25, ...middle);
      else if (event.key === "-") this.#scatter.zoom(0.8, ...middle);
      else if (event.key === "0") this.#scatter.fit();
      else return;
      event.preventDefault();
      event.stopPropagation();
      this.#redraw();
    });
  }
}

/** A colour of this hue that stands out from the ground; lightness varies a little with `at`. */
function fromHue(hue, dark, at = 0) {
  const light = (dark ? 0.66 : 0.42) + ((at % 3) - 1) * 0.07;
  const strong = dark ? 0.6 : 0.65;
  const part = (offset) => {
    const turn = (offset + hue / 30) % 12;
    return Math.round(255 * (light - strong * Math.min(light, 1 - light) * Math.max(-1, Math.min(turn - 3, 9 - turn, 1))));
  };
  return packed(part(0), part(8), part(4));
}

const css = (colour) => `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;

function fromCss(hex) {
  const value = Number.parseInt(hex.slice(1), 16);
  return packed((value >> 16) & 255, (value >> 8) & 255, value & 255);
}

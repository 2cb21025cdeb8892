// One picture in the grid: what is seen of it, and what a screen reader says.

import { thumb } from "./api.js";
import { el } from "./dom.js";
import { isKeeper } from "./listing.js";
import { ACTIONS, classTitle, decided, fileName, reasonTitle, score } from "./words.js";

/** Thumbnails that did not come: asked for again when the server answers again. */
const failed = new Set();
export const retryThumbnails = () => failed.clear();

export class Tile {
  #id = "";
  #wanted = "";

  /** `listed`: a line with all reasons instead of a tile. */
  constructor(listed) {
    this.listed = listed;
    this.image = thumbnail();
    this.mark = el("span", { class: "mark", "aria-hidden": "true" });
    this.badge = el("span", { class: "badge", "aria-hidden": "true" });
    this.name = el("span", { class: "tile-name" });
    this.why = el("span", { class: "tile-why" });
    this.detail = listed ? el("span", { class: "tile-detail" }) : null;
    this.beside = listed ? thumbnail("beside") : null;
    this.rest = el("span", { class: "visually-hidden" });
    this.check = el("span", { class: "check", "aria-hidden": "true" });
    this.element = el(
      "div",
      { role: "gridcell", class: "tile" },
      el("div", { class: "frame" }, this.image),
      this.mark,
      this.badge,
      this.check,
      el("div", { class: "caption" }, this.name, this.why, this.detail, this.rest),
      listed ? el("div", { class: "frame small", title: "the copy that stays" }, this.beside) : null,
    );
  }

  /** Show what stands at a position; `overview` has the titles of classes and reasons. */
  show({ item, id, index, column, current, selected, overview, size }) {
    const { element } = this;
    element.id = `tile-${index}`;
    element.dataset.index = index;
    element.setAttribute("aria-colindex", column + 1);
    element.setAttribute("aria-selected", String(selected));
    element.classList.toggle("current", current);
    element.classList.toggle("unknown", !item);
    if (this.#id !== id) {
      this.#id = id;
      this.image.removeAttribute("src");
      this.beside?.removeAttribute("src");
    }
    this.#wanted = id && item !== null ? thumb(id, size) : "";
    if (!item) {
      const gone = item === null;
      delete element.dataset.decided;
      this.name.textContent = gone ? "gone" : "…";
      this.rest.textContent = gone ? "This picture is gone" : "Loading";
      for (const part of [this.why, this.mark, this.badge]) part.textContent = "";
      if (this.detail) this.detail.textContent = "";
      return;
    }
    this.#tell(item, overview);
  }

  #tell(item, overview) {
    const { decision } = item;
    const title = classTitle(overview, item.label);
    const reason = item.reason && reasonTitle(overview, item.reason);
    const keeper = isKeeper(item);
    const goes = item.proposed && `→ ${classTitle(overview, item.proposed)}`;
    const why = [reason, score(item.score)].filter(Boolean).join(" ");
    if (decision) this.element.dataset.decided = decision.action;
    else delete this.element.dataset.decided;
    this.element.classList.toggle("saving", Boolean(decision) && decision.batch === undefined);
    this.mark.textContent = decision ? `${ACTIONS[decision.action]?.sign ?? "•"} ${inShort(decision, overview)}` : "";
    this.badge.textContent = keeper && !decision ? "★ stays" : "";
    this.name.textContent = title || fileName(item.path);
    this.why.textContent = goes || why || (item.width ? `${item.width} × ${item.height}` : "");
    if (this.listed) {
      this.name.textContent = `${title} · ${item.path}`;
      this.why.textContent = [why, goes].filter(Boolean).join(" ") || (keeper ? "stays; its copies leave" : "");
      this.detail.textContent = item.detail;
      this.other = item.keeper && item.keeper !== item.id ? item.keeper : "";
    }
    const state = decision ? decided(decision, overview) : "open";
    const said = [this.listed ? "" : item.path, keeper ? "stays" : goes && why, this.listed ? "" : item.detail, state];
    this.rest.textContent = said.filter(Boolean).join(", ");
  }

  /** Begin to load the picture: called once the list has come to rest. */
  load() {
    show(this.image, this.#wanted);
    if (this.beside) show(this.beside, this.other ? thumb(this.other, 160) : "");
  }

  /** Let go of what is still loading. */
  drop() {
    this.image.removeAttribute("src");
    this.beside?.removeAttribute("src");
  }
}

/** Have an image show what lies at an address, unless it does; "" shows nothing. */
function show(image, address) {
  if (image.getAttribute("src") === (address || null) || failed.has(address)) return;
  if (address) image.src = address;
  else image.removeAttribute("src");
}

/** An image that shows nothing, rather than a sign of damage, where its picture does not come. */
function thumbnail(kind) {
  const made = el("img", { alt: "", class: kind, draggable: "false", decoding: "async" });
  made.addEventListener("error", () => {
    failed.add(made.getAttribute("src"));
    made.removeAttribute("src");
  });
  return made;
}

/** A decision in a word or two: its class, its reason, or what was done. */
function inShort({ action, reason, label }, overview) {
  if (action === "relabel" && label) return classTitle(overview, label);
  if (action === "aside" && reason) return reasonTitle(overview, reason);
  return action === "keeper" ? "stays instead" : (ACTIONS[action]?.word ?? action);
}

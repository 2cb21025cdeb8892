// Pictures large: one alone, or copies side by side or in turn at the same place, with only the facts that differ.

import * as api from "./api.js";
import { buttonsFor, decideButton, decisionBindings } from "./actions.js";
import { differing } from "./details.js";
import { openDialog } from "./dialogs.js";
import { el, fill, lessMotion } from "./dom.js";
import { bindingOf } from "./keys.js";
import { stays } from "./listing.js";
import { announce, notice } from "./notices.js";
import { classTitle, decided, number, reasonTitle, score } from "./words.js";

const BLINK = 700; // ms: slower than three flashes a second
const MOST = 6;
const ZOOM_STEP = 1.25;
const LARGEST = 16;

/** Show the picture under the cursor alone (`copies` false), its copies, or the few that are selected. */
export function openLarge(page, { copies }) {
  return new Large(page, copies).open();
}

class Large {
  members = [];
  active = 0;
  blinking = false;
  #seen = 0; // while copies blink, the one that is shown; keys act on the active one
  #rows = [];
  #timer = 0;
  #scale = 1;
  #shift = { x: 0, y: 0 };
  #asked = new AbortController();

  constructor(page, copies) {
    const { review } = page;
    this.page = page;
    this.review = review;
    this.copies = copies;
    this.chosen = copies && review.selection.size > 1 ? [...review.selection].slice(0, MOST) : [];
    this.bindings = [...this.#bindings(), ...decisionBindings(page)];
    this.buttons = el("span", { class: "decide", role: "group", "aria-label": "Decide" });
    this.stage = el("div", { class: "stage", tabindex: "0", role: "group", "aria-label": copies ? "Copies" : "Picture" });
    this.legend = el("div", { class: "legend" });
  }

  async open() {
    const follow = () => this.#follow();
    const heard = ["cursor", "change", "decided"];
    for (const name of heard) this.review.addEventListener(name, follow);
    this.review.alone = true;
    this.#listenToPointer();
    await openDialog({
      title: this.copies ? "Compare" : "Picture",
      kind: "large",
      body: (handle) => {
        this.handle = handle;
        return [this.#tools(), this.stage, this.legend];
      },
      keys: (event) => {
        if (event.target.closest("button, a") && ["Enter", " "].includes(event.key)) return false;
        const binding = bindingOf(this.bindings, event);
        binding?.run(event);
        return Boolean(binding);
      },
      opened: () => {
        this.stage.focus();
        const { current } = this.review;
        const first = this.chosen.length && !this.chosen.includes(current) ? this.chosen[0] : current;
        if (first !== current) this.review.lookAt(first);
        this.#load(first);
      },
    });
    this.review.alone = false;
    clearInterval(this.#timer);
    this.#asked.abort();
    for (const name of heard) this.review.removeEventListener(name, follow);
  }

  #bindings() {
    const move = (step) => () => this.copies ? this.#activate(this.active + step) : this.review.setCursor(this.review.cursor + step);
    return [
      { keys: ["ArrowLeft", "h"], run: move(-1), repeat: true },
      { keys: ["ArrowRight", "l"], run: move(1), repeat: true },
      { keys: ["b"], run: () => this.#blink(!this.blinking) },
      { keys: ["Space"], run: () => this.#activate(this.active + 1) },
      { keys: ["+", "="], run: () => this.#zoom(ZOOM_STEP), repeat: true },
      { keys: ["-"], run: () => this.#zoom(1 / ZOOM_STEP), repeat: true },
      { keys: ["0"], run: () => this.#fit() },
      { keys: ["z", "Enter", "c"], run: () => this.handle.close() },
    ];
  }

  #tools() {
    const button = (title, key, run) =>
      el("button", { type: "button", class: "small", onclick: run }, title, " ", el("kbd", {}, key));
    this.blinkButton = this.copies ? button("Blink", "b", () => this.#blink(!this.blinking)) : null;
    return el(
      "div",
      { class: "tools" },
      this.buttons,
      el("span", { class: "space" }),
      this.blinkButton,
      this.copies && button("Next copy", "Space", () => this.#activate(this.active + 1)),
      button("Larger", "+", () => this.#zoom(ZOOM_STEP)),
      button("Smaller", "-", () => this.#zoom(1 / ZOOM_STEP)),
      button("Fit", "0", () => this.#fit()),
    );
  }

  /** The cursor went on, or something was decided: show what is current now. */
  #follow() {
    const { current } = this.review;
    const at = this.members.findIndex((member) => member.id === current);
    if (at < 0) {
      if (this.chosen.length) this.#nextChosen();
      else if (current !== this.loading) this.#load(current);
      return;
    }
    this.#renew();
    if (at !== this.active) this.active = this.#seen = at;
    this.#draw();
  }

  /** Pictures that were put together by hand stay together until each is decided. */
  #nextChosen() {
    this.#renew();
    const open = this.members.find((member) => !member.decision);
    if (open) this.review.lookAt(open.id);
    else if (this.members.length) this.handle.close();
  }

  #renew() {
    this.members = this.members.map((member) => this.review.listing.get(member.id) ?? member);
  }

  async #load(id) {
    this.#asked.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    this.loading = id;
    const known = this.review.item();
    if (!this.copies && known) this.#show([known], [], id);
    try {
      if (this.chosen.includes(id)) {
        const told = await Promise.all(this.chosen.map((one) => api.picture(one, this.review.listing.queue, signal)));
        this.#show(told, factsThatDiffer(told), id);
      } else {
        const told = await api.picture(id, this.review.listing.queue, signal);
        const members = this.copies && told.cluster_items?.length > 1 ? told.cluster_items : [told];
        this.#show(members.slice(0, Math.max(MOST, members.findIndex((one) => one.id === id) + 1)), told.differing ?? [], id);
      }
    } catch (error) {
      if (!signal.aborted) notice(error.message, { bad: true });
    } finally {
      if (this.loading === id) this.loading = "";
    }
  }

  #show(members, rows, id) {
    const same = members.length === this.members.length && members.every((one, at) => one.id === this.members[at].id);
    this.members = members;
    this.#rows = rows;
    this.active = this.#seen = Math.max(0, members.findIndex((member) => member.id === id));
    if (!same) this.#fit();
    if (this.blinkButton) this.blinkButton.disabled = members.length < 2;
    if (members.length < 2) this.#blink(false);
    this.#draw();
  }

  #draw() {
    const { overview } = this.review;
    this.stage.classList.toggle("blinking", this.blinking);
    const panes = [...this.stage.children];
    const shown = this.members.map((member) => {
      // A pane that stays is not loaded anew
      const pane = panes.find((other) => other.dataset.id === member.id) ?? this.#pane(member);
      const at = this.members.indexOf(member);
      pane.classList.toggle("current", at === this.active && this.members.length > 1);
      pane.classList.toggle("unseen", this.blinking && at !== this.#seen);
      fill(pane.querySelector("figcaption"), this.#caption(member, at, overview));
      return pane;
    });
    if (shown.length !== panes.length || shown.some((pane, at) => pane !== panes[at])) fill(this.stage, shown);
    this.#transform();
    const member = this.members[this.active];
    this.#drawButtons();
    fill(
      this.legend,
      member && this.members.length === 1 && this.#words(member, overview),
      this.members.length > 1 && differing(this.#rows, this.members, member.id),
      this.copies && this.members.length < 2 && el("p", { class: "quiet" }, "This picture has no copies."),
    );
  }

  #drawButtons() {
    const focused = this.buttons.contains(document.activeElement) ? document.activeElement.dataset.key : "";
    const shown = buttonsFor(this.page).filter(({ key }) => key !== "m");
    fill(this.buttons, shown.map((button) => decideButton(button)));
    if (focused) (this.buttons.querySelector(`[data-key="${focused}"]`) ?? this.stage).focus({ preventScroll: true });
  }

  #pane(member) {
    return el(
      "figure",
      { class: "pane", "data-id": member.id, onclick: () => this.#activate(this.members.findIndex((one) => one.id === member.id)) },
      el("div", { class: "glass" },
        el("img", { src: api.full(member.id), alt: member.path, draggable: "false" })),
      el("figcaption", {}),
    );
  }

  #caption(member, at, overview) {
    const state = member.decision ? decided(member.decision, overview) : stays(member) ? "stays" : "";
    return [
      this.members.length > 1 && el("strong", {}, stays(member) ? "★ " : `${at + 1} `),
      el("span", { class: "path" }, member.path),
      el("span", { class: "quiet" }, `${number(member.width)} × ${number(member.height)}`),
      state && el("span", { class: `state ${member.decision?.action ?? "keeper"}` }, state),
    ];
  }

  #words(member, overview) {
    const reason = member.reason && `${reasonTitle(overview, member.reason)} ${score(member.score)}`;
    const goes = member.proposed && `proposed: ${classTitle(overview, member.proposed)}`;
    const said = [classTitle(overview, member.label), reason, member.detail, goes];
    return el("p", {}, said.filter(Boolean).join(" · "));
  }

  #activate(index) {
    if (!this.members.length) return;
    const at = (index + this.members.length) % this.members.length;
    if (at < 0 || at === this.active) return;
    this.active = this.#seen = at;
    this.review.lookAt(this.members[at].id);
    this.#draw();
    announce(this.members[at].path);
  }

  #blink(on) {
    if (on && this.members.length < 2) return;
    clearInterval(this.#timer);
    this.blinking = on;
    this.#seen = this.active;
    this.blinkButton?.setAttribute("aria-pressed", String(on));
    // Where less motion is asked for, Space shows the next copy
    if (on && !lessMotion()) this.#timer = setInterval(() => this.#flip(), BLINK);
    this.#draw();
  }

  /** Show the next copy; keys go on acting on the one that was chosen last by hand. */
  #flip() {
    this.#seen = (this.#seen + 1) % this.members.length;
    this.#draw();
  }

  #fit() {
    this.#scale = 1;
    this.#shift = { x: 0, y: 0 };
    this.#transform();
  }

  #zoom(factor, at = { x: 0, y: 0 }) {
    const scale = Math.min(LARGEST, Math.max(1, this.#scale * factor));
    const ratio = scale / this.#scale;
    this.#shift = { x: at.x - (at.x - this.#shift.x) * ratio, y: at.y - (at.y - this.#shift.y) * ratio };
    this.#scale = scale;
    if (scale === 1) this.#shift = { x: 0, y: 0 };
    this.#transform();
  }

  /** All panes show the same part at the same size. */
  #transform() {
    for (const image of this.stage.querySelectorAll("img"))
      image.style.transform = `translate(${this.#shift.x}px, ${this.#shift.y}px) scale(${this.#scale})`;
    this.stage.classList.toggle("zoomed", this.#scale > 1);
  }

  #listenToPointer() {
    const fromCentre = (event) => {
      const glass = event.target.closest(".glass");
      const box = (glass ?? this.stage).getBoundingClientRect();
      return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
    };
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY / 400), fromCentre(event));
    }, { passive: false });
    this.stage.addEventListener("dblclick", (event) => (this.#scale > 1 ? this.#fit() : this.#zoom(3, fromCentre(event))));
    let last = null;
    this.stage.addEventListener("pointerdown", (event) => {
      if (this.#scale === 1 || event.button !== 0) return;
      last = event;
      this.stage.setPointerCapture(event.pointerId);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.#shift = { x: this.#shift.x + event.clientX - last.clientX, y: this.#shift.y + event.clientY - last.clientY };
      last = event;
      this.#transform();
    });
    for (const name of ["pointerup", "pointercancel"]) this.stage.addEventListener(name, () => (last = null));
  }
}

/** Rows like those of a cluster, for pictures that were put together by hand. */
export function factsThatDiffer(pictures) {
  const names = [...new Set(pictures.flatMap((one) => (one.facts ?? []).map(([name]) => name)))];
  const rows = names.map((name) => [
    name,
    Object.fromEntries(pictures.map((one) => [one.id, (one.facts ?? []).find(([other]) => other === name)?.[1]])),
  ]);
  return rows.filter(([, values]) => new Set(Object.values(values).map(String)).size > 1);
}

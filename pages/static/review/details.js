// The picture under the cursor: large, with why it stands here, what may be done, its facts, copies, credit and history.

import * as api from "./api.js";
import { byId, debounced, el, fill } from "./dom.js";
import { isKeeper, stays } from "./listing.js";
import { bytes, classTitle, count, decided, isUndoable, moment, number, reasonTitle, score } from "./words.js";

const WAIT = 70; // ms the cursor rests before more is asked for
const KEPT = 60;

export class Details {
  #id = "";
  #known = new Map();
  #asked = new AbortController();

  /** `open(id)` shows a picture large, `compare()` its copies, `undo(batch)` takes a decision back. */
  constructor(review, { open, compare, undo }) {
    this.review = review;
    this.actions = { open, compare, undo };
    this.head = byId("detail-picture");
    this.body = byId("detail-body");
    for (const name of ["cursor", "change", "overview", "listing", "found"]) review.addEventListener(name, () => this.show());
    review.addEventListener("decided", ({ detail }) => {
      const clusters = new Set(detail.map((item) => item.cluster).filter(Boolean));
      const ids = new Set(detail.map((item) => item.id));
      for (const [id, told] of this.#known) if (ids.has(id) || clusters.has(told.cluster)) this.#known.delete(id);
      if (!this.#known.has(this.review.current)) this.#ask();
    });
  }

  /** What is known of the picture in view: all of it, or what its tile has. */
  get told() {
    return this.#known.get(this.review.current) ?? null;
  }

  show() {
    const { current } = this.review;
    const item = this.review.item() ?? this.told;
    if (!item?.id) {
      this.#id = current;
      fill(this.head);
      fill(this.body, el("p", { class: "quiet" }, item?.why ?? (current ? "Loading…" : "No picture here.")));
      if (current && !this.told) this.#ask();
      return;
    }
    if (this.#id !== current || !this.head.firstChild) {
      this.#id = current;
      this.#showPicture(item);
    }
    if (!this.told) this.#ask();
    this.#draw({ ...this.told, ...item });
  }

  #showPicture(item) {
    // The thumbnail is there at once, and makes place for the picture when that has come
    const shown = el("img", { src: api.thumb(item.id, 320), alt: item.path, draggable: "false" });
    const large = new Image();
    large.src = api.full(item.id);
    large.decode().then(
      () => this.#id === item.id && (shown.src = large.src),
      () => {},
    );
    const zoom = { type: "button", class: "zoom", "aria-label": "Show large", onclick: () => this.actions.open(item.id) };
    fill(this.head, el("button", zoom, shown));
  }

  #ask = debounced(async () => {
    const { current, listing } = this.review;
    if (!current) return;
    this.#asked.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    try {
      const told = await api.picture(current, listing.queue, signal);
      this.#known.set(current, told);
      if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
      if (this.review.current === current) this.show();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof api.Refused) {
        this.#known.set(current, { why: error.message });
        this.show();
      } else this.review.emit("failed", error);
    }
  }, WAIT);

  #draw(item) {
    const { overview } = this.review;
    fill(
      this.body,
      el("h2", {}, classTitle(overview, item.label) || "no class"),
      el("p", { class: "path" }, item.path),
      this.#why(item),
      item.decision &&
        el(
          "p",
          { class: `decision ${item.decision.action}` },
          el("strong", {}, decided(item.decision, overview)),
          el("span", {}, [
            item.decision.batch === undefined ? "not saved yet" : `${item.decision.who}, ${moment(item.decision.when)}`,
          ]),
        ),
      this.#copies(item),
      this.#facts(item),
      this.#credit(item),
      this.#history(item),
      item.why && el("p", { class: "warning" }, item.why),
    );
  }

  #why(item) {
    const { overview } = this.review;
    if (isKeeper(item))
      return el("p", { class: "why keeper" }, el("strong", {}, "Stays; its copies leave. "), item.detail);
    if (!item.reason && !item.proposed && !item.detail) return null;
    const goes = item.proposed && ` Proposed: ${classTitle(overview, item.proposed)}.`;
    return el(
      "p",
      { class: "why" },
      item.reason && el("strong", {}, `${reasonTitle(overview, item.reason)} ${score(item.score)} `),
      item.detail,
      goes && el("strong", {}, goes),
    );
  }

  #copies(item) {
    const members = item.cluster_items ?? [];
    if (members.length < 2) return null;
    const strip = members.map((member) =>
      el(
        "figure",
        { class: member.id === item.id ? "copy current" : "copy" },
        el("img", { src: api.thumb(member.id, 160), alt: member.path, loading: "lazy" }),
        el("figcaption", {}, stays(member) ? "★ stays" : member.id === item.id ? "this one" : "copy"),
      ),
    );
    return el(
      "section",
      {},
      el("h3", {}, count(members.length, "copy", "copies"),
        el("button", { type: "button", class: "small", onclick: this.actions.compare }, "Compare ", el("kbd", {}, "c"))),
      el("div", { class: "copies" }, strip),
      differing(item.differing, members, item.id),
    );
  }

  #facts(item) {
    const facts = item.facts ?? [
      ["Size", `${number(item.width)} × ${number(item.height)}`],
      ["File", `${item.format} ${bytes(item.bytes)}`],
    ];
    return el("section", {}, el("h3", {}, "Facts"), pairs(facts));
  }

  #credit(item) {
    const { credit } = item;
    if (!credit) return null;
    const lines = [
      ["Title", credit.title], ["Author", credit.author], ["Source", credit.source],
      ["Licence", link(credit.licence_url, credit.licence)], ["Page", link(credit.page, credit.page)],
    ];
    return el("section", {}, el("h3", {}, "Credit"), pairs(lines.filter(([, value]) => value)));
  }

  #history(item) {
    const past = item.history ?? [];
    if (!past.length) return null;
    const { overview } = this.review;
    return el(
      "section",
      {},
      el("h3", {}, "History"),
      el(
        "ol",
        { class: "past" },
        past.map((one) =>
          el(
            "li",
            { class: one.undone ? "undone" : null },
            `${decided(one, overview)} `,
            el("span", { class: "quiet" }, `${one.who}, ${moment(one.when)}${one.undone ? ", undone" : ""}`),
            isUndoable(one) &&
              el(
                "button",
                { type: "button", class: "small", onclick: () => this.actions.undo(one.batch) },
                "Undo",
                el("span", { class: "visually-hidden" }, ` what ${one.who} decided ${moment(one.when)}`),
              ),
          ),
        ),
      ),
    );
  }
}

/** The facts in which copies differ, a column each; the picture in view is marked. */
export function differing(rows, members, current) {
  if (!rows?.length) return members.length > 1 ? el("p", { class: "quiet" }, "All facts are equal.") : null;
  const head = members.map((member, index) =>
    el("th", { scope: "col", class: member.id === current ? "current" : null }, stays(member) ? "★" : `${index + 1}`),
  );
  const lines = rows.map(([fact, values]) =>
    el("tr", {}, el("th", { scope: "row" }, fact), members.map((member) => el("td", {}, ...short(values[member.id])))),
  );
  return el(
    "div",
    { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Facts that differ" },
    el("table", { class: "differing" }, el("thead", {}, el("tr", {}, el("td", {}), head)), el("tbody", {}, lines)),
  );
}

/** A fact in a column: of a digest its beginning, which tells two apart. */
function short(value) {
  const said = String(value ?? "–");
  return /^[0-9a-f]{32,}$/.test(said) ? [el("span", { title: said }, `${said.slice(0, 10)}…`)] : [said];
}

function pairs(facts) {
  return el("dl", {}, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : String(value))]));
}

/** A link, where the address is one of the web; else the words alone. */
function link(address, words) {
  if (!words) return null;
  const web = /^https?:\/\//i.test(address ?? "");
  return web ? el("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, words) : String(words);
}


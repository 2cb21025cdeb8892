// What of a queue is shown, and in which order.

import { byId, debounced, el, fill } from "./dom.js";
import { START } from "./place.js";
import { number } from "./words.js";

const CHOICES = ["class", "split", "reason", "source", "licence", "state", "sort"];

export function drawFilters(review) {
  const fields = Object.fromEntries([...CHOICES, "text"].map((name) => [name, byId(`filter-${name}`)]));
  const descending = byId("filter-descending");
  const clear = byId("filter-clear");

  const change = (changes) => review.go({ ...review.place, ...changes, like: "", at: review.current }, { step: true });
  for (const name of CHOICES) fields[name].addEventListener("change", () => change({ [name]: fields[name].value }));
  fields.text.addEventListener("input", debounced(() => change({ text: fields.text.value.trim() }), 250));
  descending.addEventListener("click", () => change({ descending: review.place.descending === "1" ? "0" : "1" }));
  clear.addEventListener("click", () => {
    const { class: _class, split, reason, source, licence, state, text } = START;
    change({ class: _class, split, reason, source, licence, state, text });
  });

  const offer = () => {
    const { overview } = review;
    if (!overview) return;
    const plain = (names) => names.map((name) => ({ name, title: name }));
    options(fields.class, "Class", overview.classes);
    options(fields.split, "Split", plain(overview.splits));
    options(fields.reason, "Reason", overview.reasons);
    options(fields.source, "Source", plain(overview.sources));
    options(fields.licence, "Licence", plain(overview.licences));
    show();
  };
  const show = () => {
    const { place } = review;
    for (const [name, field] of Object.entries(fields)) {
      if (name === "text" && field === document.activeElement) continue;
      if (name !== "text" && place[name] && ![...field.options].some((option) => option.value === place[name]))
        field.append(el("option", { value: place[name] }, place[name]));
      field.value = place[name];
      field.classList.toggle("set", name !== "sort" && place[name] !== START[name]);
    }
    descending.textContent = place.descending === "1" ? "↓" : "↑";
    descending.setAttribute("aria-label", place.descending === "1" ? "Highest first" : "Lowest first");
    const set = [...CHOICES.filter((name) => name !== "sort"), "text"].filter((name) => place[name] !== START[name]);
    clear.hidden = !set.length;
    byId("filters-set").textContent = set.length ? `(${set.length})` : "";
  };
  review.addEventListener("overview", offer);
  review.addEventListener("place", show);
}

function options(field, any, entries) {
  const made = entries.map(({ name, title, count }) =>
    el("option", { value: name }, count === undefined ? title || name : `${title || name} (${number(count)})`),
  );
  fill(field, el("option", { value: "" }, any), made);
}

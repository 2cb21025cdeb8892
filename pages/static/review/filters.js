// What of a queue is shown, and in which order.

import { byId, debounced, el, fill } from "./dom.js";
import { START } from "./place.js";
import { number, score } from "./words.js";

const CHOICES = ["class", "split", "reason", "source", "licence", "state", "sort"];
const TYPED = ["text", "score_min", "score_max"];

/** What makes a list shorter, which is all but its order. */
export const NARROWING = [...CHOICES.filter((name) => name !== "sort"), ...TYPED];

export function drawFilters(review) {
  const fields = Object.fromEntries([...CHOICES, ...TYPED].map((name) => [name, byId(`filter-${name}`)]));
  const descending = byId("filter-descending");
  const clear = byId("filter-clear");

  const change = (changes) => review.go({ ...review.place, ...changes, like: "", at: review.current }, { step: true });
  for (const name of CHOICES) fields[name].addEventListener("change", () => change({ [name]: fields[name].value }));
  for (const name of TYPED) {
    const field = fields[name];
    const take = debounced(() => isWhole(field) && change({ [name]: field.value.trim() }), 250);
    field.addEventListener("input", take);
  }
  descending.addEventListener("click", () => change({ descending: review.place.descending === "1" ? "0" : "1" }));
  clear.addEventListener("click", () => {
    change(Object.fromEntries(NARROWING.map((name) => [name, START[name]])));
    byId("grid").focus({ preventScroll: true }); // the button goes
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
      if (TYPED.includes(name) && field === document.activeElement) continue;
      if (CHOICES.includes(name) && place[name] && ![...field.options].some((option) => option.value === place[name]))
        field.append(el("option", { value: place[name] }, place[name]));
      field.value = place[name];
      field.classList.toggle("set", name !== "sort" && place[name] !== START[name]);
    }
    descending.textContent = place.descending === "1" ? "↓" : "↑";
    descending.setAttribute("aria-label", place.descending === "1" ? "Highest first" : "Lowest first");
    const scores = review.overview?.queues.find((queue) => queue.name === place.queue)?.scores;
    const differ = scores && score(scores[0]) !== score(scores[1]);
    byId("filter-scores").hidden = !differ && !place.score_min && !place.score_max;
    fields.score_min.placeholder = scores ? score(scores[0]) : "";
    fields.score_max.placeholder = scores ? score(scores[1]) : "";
    const set = NARROWING.filter((name) => place[name] !== START[name]);
    clear.hidden = !set.length;
    byId("filters-set").textContent = set.length ? `(${set.length})` : "";
  };
  review.addEventListener("overview", offer);
  review.addEventListener("place", show);
}

/** Whether what is typed can be asked for; of a number that is half typed, or out of bounds, the field says so. */
function isWhole({ validity }) {
  return !(validity.badInput || validity.rangeUnderflow || validity.rangeOverflow);
}

function options(field, any, entries) {
  const made = entries.map(({ name, title, count }) =>
    el("option", { value: name }, count === undefined ? title || name : `${title || name} (${number(count)})`),
  );
  fill(field, el("option", { value: "" }, any), made);
}

// Where the reviewer is: the queue, its filters, the sort, the layout and the picture. It stands in the address, so that
// a reload, a bookmark and the Back button lead there again; and each queue remembers where one left it.

import { remember, remembered } from "./settings.js";

export const FILTERS = ["class", "split", "reason", "source", "licence", "score_min", "score_max", "state", "text", "sort",
  "descending"];

export const START = {
  queue: "", class: "", split: "", reason: "", source: "", licence: "", score_min: "", score_max: "", state: "open",
  text: "", sort: "score", descending: "1", layout: "grid", like: "", at: "",
};

const MEMORY = "review.places";

/** The place that a hash names. */
export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const place = { ...START };
  for (const name of Object.keys(START)) if (given.has(name)) place[name] = given.get(name);
  return place;
}

/** The hash of a place: only what differs from the start. */
export function toHash(place) {
  const said = Object.entries(place).filter(([name, value]) => value !== START[name]);
  return `#${new URLSearchParams(said)}`;
}

/** The filters of a place, as the server takes them. */
export function filtersOf(place) {
  return Object.fromEntries(FILTERS.map((name) => [name, place[name]]));
}

/** Whether two places show the same list. */
export function sameList(one, other) {
  return ["queue", "like", ...FILTERS].every((name) => one[name] === other[name]);
}

/** Write the place into the address: as a new step for Back, or in the place of the last. */
export function write(place, { step = false } = {}) {
  const hash = toHash(place);
  if (hash === location.hash || (hash === "#" && !location.hash)) return;
  history[step ? "pushState" : "replaceState"](null, "", hash);
  if (place.queue && !place.like) remember(MEMORY, { ...places(), [place.queue]: place });
}

const places = () => remembered(MEMORY) ?? {};

/** Where a queue was left, or its start. */
export function lastPlace(queue, layout) {
  const kept = places()[queue];
  return { ...START, ...kept, queue, like: "", layout };
}

// How numbers, times and decisions are said.

const WHOLE = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const number = (value) => WHOLE.format(value);

/** "1 picture", "1,200 pictures". */
export function count(value, noun, nouns = `${noun}s`) {
  return `${number(value)} ${value === 1 ? noun : nouns}`;
}

/** A score as the queues give it, in two decimals. */
export const score = (value) => (value === null || value === undefined ? "" : value.toFixed(2));

/** A moment as the server gives it, in the reader's own way; as it stands where it is no moment. */
export function moment(when) {
  const read = typeof when === "number" ? new Date(when * 1000) : new Date(when);
  return Number.isNaN(read.getTime()) ? String(when ?? "") : CLOCK.format(read);
}

export const ACTIONS = {
  keep: { sign: "✓", word: "stays", done: "kept" },
  aside: { sign: "✕", word: "set aside", done: "set aside" },
  relabel: { sign: "→", word: "relabelled", done: "relabelled" },
  keeper: { sign: "★", word: "stays in place of its copy", done: "put in its copy's place" },
  "carry-out": { sign: "⇥", word: "carried out", done: "carried out" },
  accept: { sign: "✓", word: "accepted", done: "accepted" },
  undo: { sign: "↶", word: "undone", done: "undone" },
  lapse: { sign: "–", word: "dropped", done: "dropped" },
  restore: { sign: "↩", word: "comes back", done: "brought back" },
};

/** Whether a batch can be taken back, as a decision can: not what was carried out, which is `restore`'s to bring back. */
export const isUndoable = ({ action, undone }) => !undone && action !== "carry-out" && action !== "undo";

/** What was decided on one picture: "set aside (duplicate)", "relabelled to rose". */
export function decided(decision, overview) {
  const said = ACTIONS[decision.action]?.word ?? decision.action;
  if (decision.action === "aside" && decision.reason) return `${said}: ${reasonTitle(overview, decision.reason)}`;
  if (decision.action === "lapse" && decision.reason) return `${said}: ${decision.reason}`;
  if (decision.action === "relabel" && decision.label) return `${said}: ${classTitle(overview, decision.label)}`;
  return said;
}

const titled = (list, name) => list?.find((entry) => entry.name === name)?.title || name;

/** What a class folder is called. */
export const classTitle = (overview, name) => titled(overview?.classes, name);
export const reasonTitle = (overview, name) => titled(overview?.reasons, name);
export const queueTitle = (overview, name) => titled(overview?.queues, name);

/** The last part of a path. */
export const fileName = (path) => path.slice(path.lastIndexOf("/") + 1);

export const bytes = (value) =>
  value >= 1e6 ? `${(value / 1e6).toFixed(1)} MB` : value >= 1e3 ? `${Math.round(value / 1e3)} kB` : `${value} B`;

/** Words as a sentence: "accepted 3 proposals" → "Accepted 3 proposals." */
export const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

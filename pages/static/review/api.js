// What the server is asked, and how its refusals are told apart.

const PATIENCE = 30_000; // ms
const LONG = 1_800_000; // files that are moved, a map that is made

/** The server did not answer, or no longer knows this page or finds its dataset: what was sent may be sent again. */
export class Unreachable extends Error {}

/** The server answered, and refused. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Another tab or command decided first; `items` are the pictures as they are now. */
export class Conflict extends Refused {
  constructor(sentence, items) {
    super(sentence, 409);
    this.items = items;
  }
}

async function ask(path, { body, signal, patience = PATIENCE } = {}) {
  const limits = [AbortSignal.timeout(patience), ...(signal ? [signal] : [])];
  const request = { signal: AbortSignal.any(limits), credentials: "same-origin" };
  if (body !== undefined) {
    request.method = "POST";
    request.headers = { "content-type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let answer;
  let told = {};
  try {
    answer = await fetch(path, request);
    told = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (!answer || answer.ok) throw new Unreachable("The server does not answer.");
  }
  if (answer.ok) return told;
  const sentence = told.error || `The server answered ${answer.status}.`;
  if (answer.status === 401)
    throw new Unreachable("The server was started anew: open the address that it printed.");
  if (answer.status === 409) throw new Conflict(sentence, told.items ?? []);
  if ([410, 502, 503, 504].includes(answer.status)) throw new Unreachable(sentence);
  throw new Refused(sentence, answer.status);
}

function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

const path = encodeURIComponent;

export const state = (signal) => ask("/api/state", { signal });
export const page = (queue, filters, offset, limit, signal) =>
  ask(`/api/queue/${path(queue)}${query({ ...filters, offset, limit })}`, { signal });
export const ids = (queue, filters, signal) => ask(`/api/ids/${path(queue)}${query(filters)}`, { signal });
export const items = (queue, wanted, signal) =>
  ask(`/api/items${query({ queue, ids: wanted.join(",") })}`, { signal });
export const picture = (id, queue, signal) => ask(`/api/picture/${path(id)}${query({ queue })}`, { signal });
export const alike = (id, signal) =>
  ask(`/api/alike/${path(id)}${query({ limit: 60 })}`, { signal, patience: LONG });
export const points = (signal) => ask("/api/map", { signal, patience: LONG });
export const decide = (body) => ask("/api/decide", { body });
export const undo = (body) => ask("/api/undo", { body });
export const history = (offset, limit, signal) => ask(`/api/history${query({ offset, limit })}`, { signal });
export const changes = (since, queue) => ask(`/api/changes${query({ since, queue })}`);
export const carryOut = (body) => ask("/api/carry-out", { body, patience: LONG });

export const thumb = (id, size) => `/thumb/${path(id)}?size=${size}`;
export const full = (id) => `/picture/${path(id)}`;

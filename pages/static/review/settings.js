// What a reader of this browser set once, and what a tab remembers: lost without harm where a browser keeps nothing.

/** A setting of this browser, or null. */
export const setting = (name) => read(() => localStorage.getItem(name));
export const keepSetting = (name, value) => read(() => localStorage.setItem(name, value));

/** What this tab remembers under a name, or null. */
export const remembered = (name) => read(() => JSON.parse(sessionStorage.getItem(name)));

/** Remember a value in this tab; null forgets it. */
export function remember(name, value) {
  read(() => (value === null ? sessionStorage.removeItem(name) : sessionStorage.setItem(name, JSON.stringify(value))));
}

/** Storage may be forbidden, or full. */
function read(access) {
  try {
    return access() ?? null;
  } catch {
    return null;
  }
}

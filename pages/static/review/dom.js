// Elements made from values. Every text becomes a text node: nothing that others wrote is read as markup.

/** An element. An attribute that is null, undefined or false is left out; `onclick` and its like are listeners. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...present(children));
  return made;
}

/** Put these children in the place of those that an element has. */
export function fill(parent, ...children) {
  parent.replaceChildren(...present(children));
  return parent;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** The element with this id, which the template has. */
export const byId = (id) => document.getElementById(id);

/** Whether the keys that are typed belong to this element: a field, a list, an editor. */
export function takesText(element) {
  return (
    element instanceof HTMLElement &&
    (element.isContentEditable ||
      element.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=button], [type=range])"))
  );
}

/** Call `run` once, `wait` ms after the last of many calls. */
export function debounced(run, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...values), wait);
  };
}

export const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

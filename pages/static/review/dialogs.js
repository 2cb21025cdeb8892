// Windows over the page: opened, closed, and what is typed in them.

import { byId, el, fill } from "./dom.js";

/**
 * Open a dialog with a title. `body` are its elements, `buttons` what stands below; `keys(event)` sees what is typed in
 * it first and tells whether it took it. Resolves to what `close(value)` was given, or "" where Escape closed it.
 */
export function openDialog({ title, kind = "", body = [], buttons = [], keys = () => false, opened = () => {} }) {
  return new Promise((resolve) => {
    const heading = el("h2", { id: `dialog-title-${(serial += 1)}` }, title);
    const close = (value = "") => {
      dialog.returnValue = "";
      answer = value;
      dialog.close();
    };
    let answer = "";
    const dialog = el(
      "dialog",
      { class: `dialog ${kind}`, "aria-labelledby": heading.id },
      el(
        "header",
        {},
        heading,
        el("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => close() }, "×"),
      ),
      el("div", { class: "dialog-body" }),
      buttons.length ? el("footer", {}) : null,
    );
    const content = dialog.querySelector(".dialog-body");
    const handle = { dialog, content, close };
    fill(content, typeof body === "function" ? body(handle) : body);
    for (const button of buttons)
      dialog.querySelector("footer").append(
        el(
          "button",
          { type: "button", class: button.kind, autofocus: button.first, onclick: () => close(button.value) },
          button.title,
        ),
      );
    dialog.addEventListener("keydown", (event) => {
      if (keys(event, handle)) event.preventDefault();
      event.stopPropagation();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      // This event comes late: whoever has gone on to something else by then keeps the focus there
      const nobody = document.activeElement === null || document.activeElement === document.body;
      if (nobody) before?.focus?.({ preventScroll: true });
      resolve(answer);
    });
    // A click beside the dialog closes it, as everywhere
    dialog.addEventListener("pointerdown", (event) => event.target === dialog && close());
    const before = document.activeElement;
    byId("dialogs").append(dialog);
    dialog.showModal();
    opened(handle);
  });
}

let serial = 0;

/** Whether a dialog is open: then the page's own keys rest. */
export const isOpen = () => byId("dialogs").querySelector("dialog[open]") !== null;

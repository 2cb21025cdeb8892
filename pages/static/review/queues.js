// The queues, with how many of each are open.

import { byId, el, fill } from "./dom.js";
import { number } from "./words.js";

export function drawQueues(review, go) {
  const list = byId("queues");
  const draw = () => {
    const { overview, place } = review;
    if (!overview) return;
    const focused = document.activeElement?.dataset?.queue;
    fill(
      list,
      overview.queues.map((queue) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: queue.open ? "queue" : "queue done",
              "data-queue": queue.name,
              "aria-current": queue.name === place.queue && !place.like ? "page" : null,
              onclick: () => go(queue.name),
            },
            el("span", {}, queue.title),
            el("span", { class: "open" }, queue.open || !queue.count ? number(queue.open) : "✓"),
            el("span", { class: "visually-hidden" }, `open of ${number(queue.count)}`),
          ),
        ),
      ),
    );
    if (focused) list.querySelector(`[data-queue="${CSS.escape(focused)}"]`)?.focus();
  };
  review.addEventListener("overview", draw);
  review.addEventListener("place", () => {
    draw();
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

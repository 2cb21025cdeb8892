// Carrying out what was decided: counted first, then asked, then told.

import * as api from "./api.js";
import { openDialog } from "./dialogs.js";
import { el } from "./dom.js";
import { notice } from "./notices.js";
import { count, reasonTitle } from "./words.js";

/** Count, ask and carry out; then the list is fetched anew, as pictures have moved. */
export async function carryOut(review) {
  let plan;
  try {
    plan = await api.carryOut({ dry: true });
  } catch (error) {
    notice(error.message, { bad: true });
    return;
  }
  const moves = plan.aside + plan.relabel + plan.restore;
  const chosen = await openDialog({
    title: moves ? "Carry out?" : "Nothing to carry out",
    body: planned(plan, review.overview),
    buttons: moves
      ? [
          { title: `Carry out: move ${count(moves, "file")}`, value: "go", kind: "primary", first: true },
          { title: "Not now", value: "" },
        ]
      : [{ title: "Close", value: "", first: true }],
  });
  if (chosen !== "go") return;
  notice("Carrying out…");
  try {
    const done = await api.carryOut({ dry: false, token: plan.token });
    await openDialog({ title: "Carried out", body: told(done), buttons: [{ title: "Close", value: "", first: true }] });
    await review.loadOverview();
    await review.go(review.place, { step: false, anew: true });
  } catch (error) {
    const again = { title: "Count anew", run: () => carryOut(review) };
    notice(error.message, { bad: true, action: error.status === 409 ? again : undefined });
  }
}

function planned(plan, overview) {
  const reasons = Object.entries(plan.by_reason ?? {}).sort((one, other) => other[1] - one[1]);
  const lines = [
    plan.aside && `${count(plan.aside, "picture")} ${plan.aside === 1 ? "goes" : "go"} to quarantine, from where each can be brought back.`,
    plan.relabel && `${count(plan.relabel, "picture")} ${plan.relabel === 1 ? "goes" : "go"} to another class.`,
    plan.restore && `${count(plan.restore, "picture")} ${plan.restore === 1 ? "comes" : "come"} back from quarantine.`,
    plan.keep && `${count(plan.keep, "picture")} ${plan.keep === 1 ? "stays" : "stay"} and will not be proposed again.`,
  ];
  return [
    el("ul", {}, lines.filter(Boolean).map((line) => el("li", {}, line))),
    reasons.length > 0 &&
      el("table", {}, el("tbody", {}, reasons.map(([reason, moved]) =>
        el("tr", {}, el("th", { scope: "row" }, reasonTitle(overview, reason)), el("td", { class: "number" }, String(moved)))))),
    (plan.warnings ?? []).map((warning) => el("p", { class: "warning" }, warning)),
    !lines.some(Boolean) && el("p", {}, "No decision waits to be carried out."),
  ];
}

function told(done) {
  const unmoved = done.unmoved ?? [];
  return [
    el("ul", {},
      el("li", {}, `${count(done.moved, "picture")} moved to quarantine`),
      el("li", {}, `${count(done.relabelled, "picture")} moved to another class`),
      el("li", {}, `${count(done.restored, "picture")} brought back`)),
    unmoved.length > 0 && el("p", { class: "warning" }, `${count(unmoved.length, "picture")} could not be moved:`),
    unmoved.length > 0 &&
      el("ul", { class: "unmoved" }, unmoved.map(([path, why]) => el("li", {}, el("span", { class: "path" }, path), `: ${why}`))),
  ];
}

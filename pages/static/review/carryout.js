// Carrying out what was decided: counted first, then asked, then told.

import * as api from "./api.js";
import { openDialog } from "./dialogs.js";
import { el } from "./dom.js";
import { clearNotices, notice } from "./notices.js";
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
    title: moves + plan.unfinished ? "Carry out?" : "Nothing to carry out",
    body: planned(plan, review.overview),
    buttons: buttonsFor(moves, plan),
  });
  if (chosen !== "go") return;
  notice("Carrying out…");
  try {
    const done = await api.carryOut({ dry: false, token: plan.token });
    clearNotices();
    const close = [{ title: "Close", value: "", first: true }];
    const closed = openDialog({ title: "Carried out", body: told(done), buttons: close });
    await review.loadOverview();
    await review.go(review.place, { step: false, anew: true });
    await closed;
  } catch (error) {
    const again = { title: "Count anew", run: () => carryOut(review) };
    notice(error.message, { bad: true, action: error.status === 409 ? again : undefined });
  }
}

function buttonsFor(moves, { unfinished, lapsed }) {
  const title = moves
    ? `Carry out: move ${count(moves, "picture")}`
    : unfinished
      ? `Finish: move ${count(unfinished, "picture")}`
      : `Drop ${count(lapsed, "decision")}`;
  if (!moves && !unfinished && !lapsed) return [{ title: "Close", value: "", first: true }];
  return [
    { title, value: "go", kind: "primary", first: true },
    { title: "Not now", value: "" },
  ];
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
    !lines.some(Boolean) && !plan.unfinished && !plan.lapsed && el("p", {}, "No decision waits to be carried out."),
    plan.lapsed > 0 &&
      el("p", {}, `What cannot be carried out is dropped${plan.lapsed === 1 ? "" : ", all of it,"} and stays in the history, where it can be undone.`),
  ];
}

function told(done) {
  const unmoved = done.unmoved ?? [];
  const lines = [
    done.moved && `${count(done.moved, "picture")} moved to quarantine`,
    done.relabelled && `${count(done.relabelled, "picture")} moved to another class`,
    done.restored && `${count(done.restored, "picture")} brought back`,
  ].filter(Boolean);
  return [
    lines.length > 0 ? el("ul", {}, lines.map((line) => el("li", {}, line))) : el("p", {}, "No picture was moved."),
    done.finished > 0 && el("p", {}, `${count(done.finished, "picture")} of these had been left by a run that was interrupted.`),
    done.lapsed.length > 0 && el("p", { class: "warning" }, `${count(done.lapsed.length, "decision")} could not be carried out, and ${done.lapsed.length === 1 ? "is" : "are"} dropped:`),
    done.lapsed.length > 0 && el("ul", { class: "unmoved" }, done.lapsed.map((why) => el("li", {}, why))),
    unmoved.length > 0 && el("p", { class: "warning" }, `${count(unmoved.length, "picture")} could not be moved:`),
    unmoved.length > 0 &&
      el("ul", { class: "unmoved" }, unmoved.map(([path, why]) => el("li", {}, el("span", { class: "path" }, path), `: ${why}`))),
  ];
}

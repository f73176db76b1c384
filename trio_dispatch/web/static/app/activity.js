// The event stream: what changed, what started and ended, and what dispatchers reported.

import { make } from "../chart/elements.js";
import { get } from "./api.js";
import { timeText } from "./format.js";
import { report } from "./notices.js";
import { reporter } from "./parts.js";
import { now, on, state } from "./state.js";

const MOST = 300, SEED = 50;
const section = document.getElementById("activity");
const list = make("ol", { class: "events" });
const only = make("select", {}, make("option", { value: "" }, "Everything"),
  make("option", { value: "change" }, "Changes"), make("option", { value: "status" }, "Starts and ends"),
  make("option", { value: "run" }, "Reports of runs"), make("option", { value: "bad" }, "Problems"));
section.append(make("div", { class: "bar" }, make("label", {}, "Show ", only)),
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, list));

const types = new Map(); // the last known type of each dispatch

const entry = (time, kind, bad, id, ...words) => {
  const type = types.get(id);
  const item = make("li", { class: bad ? "bad-event" : "", "data-kind": kind },
    make("time", {}, timeText(time)),
    make("span", {}, make("a", { href: `#/activity/${id}` }, `${type ?? "dispatch"} #${id}`),  " ", ...words));
  item.moment = typeof time === "number" ? time : Date.parse(time);
  return item;
};

const runEntry = (run) => {
  types.set(run.dispatch_id, run.type);
  const bad = ["failed", "missed", "rejected"].includes(run.state);
  return entry(run.report_time, "run", bad, run.dispatch_id,
    `${run.state}${run.reason ? `, ${run.reason}` : ""}: `, reporter(run),
    `${run.error ? `: ${run.error}` : ""}, due ${timeText(run.start_time)}`);
};

const add = (items) => {
  list.prepend(...items.reverse());
  while (list.children.length > MOST) list.lastChild.remove();
};

on("changes", ({ created, updated, deleted, status, runs }) => {
  const time = now();
  for (const each of [...created, ...updated]) types.set(each.id, each.type);
  add([
    ...created.map((each) => entry(time, "change", false, each.id, "was created")),
    ...updated.map((each) => entry(time, "change", false, each.id,
      each.active ? "was updated" : "was updated, and is paused")),
    ...deleted.map((id) => entry(time, "change", false, id, "was deleted")),
    ...status.map((each) => entry(time, "status", false, each.id, each.pulse ? "has a pulse"
      : each.running ? `is due to run${each.until ? ` until ${timeText(each.until)}` : ""}` : "does not run any more")),
    ...runs.map(runEntry),
  ]);
});
on("reload", async () => {
  try {
    const [{ runs }, { dispatches }] = await Promise.all(
      [get("runs", { limit: SEED }), get("dispatches", { limit: 1000, zone: state.zone.name })]);
    for (const each of dispatches) types.set(each.id, each.type);
    if (!list.children.length) add(runs.sort((a, b) => a.report_time < b.report_time ? -1 : 1).map(runEntry));
  } catch (error) {
    report(error);
  }
});
only.addEventListener("change", () => { list.dataset.only = only.value; });

/** Forget everything: another microgrid was chosen. */
export const resetActivity = () => {
  types.clear();
  list.replaceChildren();
};

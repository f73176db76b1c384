// The details of a dispatch: content, occurrences, runs, history, and why it does or does not run.

import { definitions, make } from "../chart/elements.js";
import { get } from "./api.js";
import { deleteDispatch, pause } from "./changes.js";
import { duplicate, edit } from "./editor.js";
import { durationWords, payloadText, ruleWords, timeText, titleOf } from "./format.js";
import { report } from "./notices.js";
import { badge, occurrencesOf, reporter } from "./parts.js";
import { canWrite, emit, on, state } from "./state.js";

const panel = document.getElementById("details");
let shown = null, asked = 0, opener = null;

const section = (title, ...content) => make("section", {}, make("h3", {}, title), ...content);

const badges = (record) => make("p", { class: "badges" },
  record.running ? badge(record.until ? `running until ${timeText(record.until)}` : "running", "good") : null,
  record.active ? null : badge("paused", "warn"),
  record.dry_run ? badge("dry run") : null);

const actions = (record) => canWrite() ? make("div", { class: "actions" },
  make("button", { type: "button", onclick: () => edit(record) }, "Edit"),
  make("button", { type: "button", onclick: () => duplicate(record) }, "Duplicate"),
  make("button", { type: "button", onclick: () => pause(record) }, record.active ? "Pause" : "Resume"),
  make("button", { type: "button", class: "danger", onclick: async () => {
    if (await deleteDispatch(record)) closeDetails();
  } }, "Delete")) : null;

const runsTable = (runs) => make("table", { class: "small-table" },
  make("thead", {}, make("tr", {}, ...["Due", "State", "By"].map((each) => make("th", { scope: "col" }, each)))),
  make("tbody", {}, ...runs.map((run) => make("tr", {},
    make("td", {}, timeText(run.start_time)),
    make("td", {}, make("span", { class: `state ${run.state}` }, run.state),
      run.reason ? `, ${run.reason}` : "", run.error ? make("span", { class: "bad" }, ` ${run.error}`) : ""),
    make("td", {}, reporter(run))))));

const historyList = (history) => make("ol", { class: "history" }, ...history.map((entry) => make("li", {},
  make("p", {}, make("strong", {}, entry.change), ` ${timeText(entry.time)}`,
    make("span", { class: "muted" }, ` by ${[entry.key_name || "no key", entry.peer].filter(Boolean).join(", ")}`)),
  entry.differences?.length ? make("ul", {}, ...entry.differences.map(([name, old, after]) => make("li", {},
    `${name}: `, old === null ? null : make("span", { class: "old" }, old), old === null ? null : " → ",
    make("span", { class: "new" }, after ?? "–")))) : null)));

const show = (found) => {
  const { dispatch: record } = found;
  const payload = payloadText(record.payload);
  const body = [
    badges(record), actions(record),
    section("Why", make("ul", { class: "plain" }, ...found.explanation.map((line) => make("li", {}, line)))),
    section("What", definitions([["Target", record.target_text || "no target"],
      ["Start", timeText(record.start_time)], ["Duration", durationWords(record.duration)],
      ["Recurs", ruleWords(record)]]),
    payload ? make("pre", { tabindex: "0", "aria-label": "Payload" }, payload) : null),
    section("Next occurrences", found.warning ? make("p", { class: "note" }, found.warning) : null,
      occurrencesOf(found.occurrences)),
    section("Last runs", !found.recorded ? make("p", { class: "muted" }, "The service does not keep runs.")
      : found.runs.length ? runsTable(found.runs) : make("p", { class: "muted" }, "No run was reported.")),
    section("History", found.history?.length ? historyList(found.history)
      : make("p", { class: "muted" }, "No change is recorded.")),
  ];
  const { scrollTop } = panel;
  title.textContent = titleOf(record);
  content.replaceChildren(...body.filter(Boolean));
  panel.scrollTop = scrollTop;
};

const title = make("h2", { tabindex: "-1" });
const content = make("div", { class: "stack" });
const closing = make("button", { type: "button", class: "close", "aria-label": "Close the details",
  onclick: () => closeDetails() }, "×");
panel.append(make("div", { class: "panel-head" }, title, closing), content);
panel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDetails();
});

const load = async () => {
  const id = shown, turn = ++asked;
  try {
    const found = await get(`dispatches/${id}`, { zone: state.zone.name });
    if (turn === asked) show(found);
  } catch (error) {
    if (turn !== asked) return;
    if (error.code === "not_found") closeDetails(); else report(error);
  }
};

export const openDetails = (id, focus = false) => {
  if (panel.hidden) opener = document.activeElement;
  if (shown !== id) {
    title.textContent = `#${id}`;
    content.replaceChildren(make("p", { class: "muted" }, "Loading"));
    panel.scrollTop = 0;
  }
  if (shown !== id) emit("details", id);
  shown = id;
  panel.hidden = false;
  document.body.classList.add("with-details");
  load();
  if (focus) title.focus();
};

export const closeDetails = () => {
  if (panel.hidden) return;
  const inside = panel.contains(document.activeElement);
  shown = null;
  asked++;
  panel.hidden = true;
  document.body.classList.remove("with-details");
  if (inside) opener?.focus();
  emit("details", null);
};

on("changes", ({ created, updated, deleted, status, runs, reload_runs: reloadRuns }) => {
  if (shown === null) return;
  if (deleted.includes(shown)) closeDetails();
  else if ([...created, ...updated, ...status].some((each) => each.id === shown)
    || reloadRuns || runs.some((run) => run.dispatch_id === shown)) load();
});
on("reload", () => shown !== null && load());
on("zone", () => shown !== null && load());

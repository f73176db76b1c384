// The list of dispatches, with filters.

import { make } from "../chart/elements.js";
import { get } from "./api.js";
import { offerTypes } from "./editor.js";
import { durationWords, ruleWords, timeText } from "./format.js";
import { report } from "./notices.js";
import { badge } from "./parts.js";
import { emit, on, state } from "./state.js";

const PAGE = 100, PAUSE = 200;
const section = document.getElementById("dispatches");
let limit = PAGE, asked = 0, timer = 0;

const choice = (label, options) => {
  const select = make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
  return [select, make("label", {}, `${label} `, select)];
};
const yesNo = (yes, no) => [["", "Any"], ["true", yes], ["false", no]];

const text = make("input", { type: "search", placeholder: "Type, payload, #id", "aria-label": "Search" });
const [type, typeLabel] = choice("Type", [["", "Any"]]);
const [active, activeLabel] = choice("State", yesNo("active", "paused"));
const [running, runningLabel] = choice("Now", yesNo("running", "not running"));
const [recurring, recurringLabel] = choice("Recurs", yesNo("yes", "no"));
const [dryRun, dryRunLabel] = choice("Dry run", yesNo("yes", "no"));
const target = make("input", { placeholder: "Target: 1,2 or battery", "aria-label": "Target" });
const [sort, sortLabel] = choice("Order", [["next_run", "next run"], ["id", "id"], ["type", "type"],
  ["start_time", "start"], ["update_time", "last change"]]);
const count = make("p", { class: "muted", role: "status" });
const rows = make("tbody");
const more = make("button", { type: "button", hidden: true, onclick: () => {
  limit += PAGE;
  load();
} }, "Show more");

section.append(
  make("div", { class: "bar" }, text, typeLabel, activeLabel, runningLabel, recurringLabel, dryRunLabel,
    target, sortLabel),
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "List of dispatches" },
    make("table", { class: "list" },
      make("thead", {}, make("tr", {}, ...["Dispatch", "Target", "Recurs", "Duration", "Next run", "State"]
        .map((name) => make("th", { scope: "col" }, name)))), rows),
    more),
  count);

const rowOf = (record) => {
  const link = make("a", { href: `#/dispatches/${record.id}` }, make("strong", {}, record.type), ` #${record.id}`);
  return make("tr", { onclick: (event) => {
    if (event.target.tagName !== "A" && !getSelection().toString()) emit("open", { id: record.id, focus: true });
  } },
  make("td", {}, link),
  make("td", { "data-name": "Target" }, record.target_text || "no target"),
  make("td", { "data-name": "Recurs" }, ruleWords(record)),
  make("td", { "data-name": "Duration" }, durationWords(record.duration)),
  make("td", { class: "when", "data-name": "Next run" }, record.next_run ? timeText(record.next_run) : "–"),
  make("td", {}, record.running ? badge("running", "good") : null,
    record.active ? null : badge("paused", "warn"), record.dry_run ? badge("dry run") : null));
};

const load = async () => {
  if (section.hidden) return;
  const turn = ++asked;
  try {
    const found = await get("dispatches", {
      text: text.value.trim(), type: type.value, active: active.value, running: running.value,
      recurring: recurring.value, dry_run: dryRun.value, target: target.value.trim(), sort: sort.value,
      descending: sort.value === "update_time" ? true : "", limit, zone: state.zone.name,
    });
    if (turn === asked) show(found);
  } catch (error) {
    report(error);
  }
};

const show = (found) => {
  const focused = document.activeElement?.closest?.("tr") ? document.activeElement.getAttribute("href") : null;
  rows.replaceChildren(...found.dispatches.map(rowOf));
  if (focused) rows.querySelector(`a[href="${focused}"]`)?.focus();
  const words = `${found.matching} of ${found.total} dispatches`;
  if (count.textContent !== words) count.textContent = words;
  more.hidden = found.dispatches.length >= found.matching;
  offerTypes(found.types);
  const present = [...type.options].slice(1).map((each) => each.value);
  if (present.join("\n") !== found.types.join("\n")) {
    const { value } = type;
    type.replaceChildren(type.options[0], ...found.types.map((each) => make("option", { value: each }, each)));
    type.value = found.types.includes(value) ? value : "";
  }
};

const soon = (pause) => {
  clearTimeout(timer);
  timer = setTimeout(load, pause);
};
section.querySelector(".bar").addEventListener("input", () => {
  limit = PAGE;
  soon(PAUSE);
});
let last = 0;
on("changes", () => {
  // At most once a second.
  soon(Math.max(0, last + 1000 - Date.now()));
  last = Math.max(Date.now(), last);
});
on("reload", load);
on("zone", load);

/** The view was opened. */
export const openList = load;

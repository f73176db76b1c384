// The plan: the chart, what it is to show, and the loading of what it shows.

import { createChart } from "../chart/chart.js";
import { make } from "../chart/elements.js";
import { fillLegend } from "../chart/legend.js";
import { CONFLICT, MANY, OVERRIDDEN, PULSE, isSingle } from "../chart/model.js";
import { momentText, spanText } from "../chart/words.js";
import { DAY, HOUR, MINUTE } from "../chart/zone.js";
import { get } from "./api.js";
import { moveOccurrence } from "./changes.js";
import { create, offerTypes } from "./editor.js";
import { actorName } from "./format.js";
import { report } from "./notices.js";
import { canWrite, emit, now, on, settings, state } from "./state.js";

const element = (id) => document.getElementById(id);
const SPANS = [["Hour", HOUR], ["6 h", 6 * HOUR], ["Day", DAY], ["Week", 7 * DAY], ["Month", 31 * DAY],
  ["Year", 366 * DAY]];
const PARTS = 8; // a window begins at a multiple of this part of a screen, so that pages share it
const STEPS = [];
for (let step = MINUTE; step < 100 * DAY; step *= 2) STEPS.push(step, 1.5 * step);
const BETWEEN = 1000, AGAIN = 3000, SOON = 120, LONG = 8 * DAY;

let chart = null, loaded = null, loading = null, abort = null, detailed = null;
let timer = 0, ended = 0, took = 0;

const section = element("plan"), by = element("by"), only = element("only");
const height = element("height"), actual = element("actual");

// What the chart asks for.

const describe = (item) => {
  const dispatch = chart.plan.dispatches[item.id] ?? { type: "", target: "" };
  const { run } = item;
  const goesOn = item.kind === "actual" && item.end === null;
  const when = ["time", goesOn ? `since ${momentText(state.zone, item.start)}`
    : spanText(state.zone, item.start, item.end)];
  if (item.others) return [["", `${item.others + 1} that cannot be told apart`], when];
  const head = ["", `${dispatch.type} #${item.id}${dispatch.dry_run ? ", dry run" : ""}`];
  if (run) return [head, ["state", run.state + (run.reason ? `, ${run.reason}` : "")],
    [item.kind === "mark" ? "due" : "ran", when[1]],
    ["by", [run.dispatcher, actorName(run)].filter(Boolean).join(", ")], ["error", run.error]]
    .filter((line) => line[1]);
  const notes = [item.flags & MANY && "many short runs", item.flags & OVERRIDDEN && "overridden",
    item.flags & CONFLICT && "another type runs for the same component"].filter(Boolean);
  const value = chart.plan.height && typeof dispatch.height === "number"
    ? [[chart.plan.height.key, String(dispatch.height)]] : [];
  return [head, when, ["target", dispatch.target || "no target"], ...value,
    ...(notes.length ? [["note", notes.join(", ")]] : [])];
};

const caption = (item) => {
  if (item.others) return `${item.others + 1} in one`;
  const dispatch = chart.plan.dispatches[item.id];
  const name = chart.plan.by === "type" ? dispatch.target || "no target" : dispatch.type;
  return chart.plan.height && typeof dispatch.height === "number" ? `${name} ${dispatch.height}` : name;
};

const addAt = (row, moment) => {
  if (!canWrite()) return;
  const step = chart.step();
  const start = Math.max(Math.floor(moment / step) * step, Math.ceil(now() / MINUTE) * MINUTE);
  const target = row.component === null ? "" : String(row.component);
  create({ start, target_text: target, type: chart.plan.by === "type" ? row.label : "" });
};

const begin = () => {
  const span = 1000 * state.session.span;
  chart = createChart(element("chart"), {
    zone: state.zone, begin: now() - span / 6, end: now() + span * 5 / 6, now: now(), longest: 366 * DAY,
    label: "What runs when. Arrow keys go from run to run, Enter shows the details.",
    describe, caption, emptyText: () => loaded ? "Nothing runs in this time." : "Loading",
    onView: () => {
      showSpan();
      want();
    },
    onOpen: (item, byKey) => {
      if (!item.others) emit("open", { id: item.id, focus: Boolean(byKey) });
    },
    canMove: (item) => canWrite() && isSingle(item) && !(item.flags & MANY),
    onMove: (item, start, end) => moveOccurrence(item.id,
      { start: item.start, end: item.end }, start, item.flags & PULSE ? null : end),
    onAdd: addAt,
    keys: { t: goToNow, T: goToNow, Home: goToNow },
  });
  chart.setPlan(chart.plan);
  showSpan();
  setInterval(tick, 1000);
};

let ticked = 0;
const tick = () => {
  if (section.hidden || document.hidden) return;
  const pixel = (chart.view.end - chart.view.begin) / Math.max(chart.width, 1);
  if (Math.abs(now() - ticked) < pixel / 2 && now() - ticked < MINUTE) return;
  ticked = now();
  chart.setNow(ticked);
};

// Loading.

/** Return what to ask for, so that pages with similar views ask for the same and share the answer. */
const windowOf = (view) => {
  const span = view.end - view.begin;
  const part = STEPS.find((step) => PARTS * step >= span) ?? STEPS.at(-1);
  const screen = PARTS * part;
  const more = screen * (span > LONG ? 1 / 4 : 1);
  return { screen, more, from: Math.floor((view.begin - more) / part) * part,
    to: Math.ceil((view.end + more) / part) * part };
};
const options = () => ({ by: by.value, height: height.value, type: only.value, actual: actual.checked ? 1 : 0 });

/** Whether a view is within what was loaded, or is being loaded. */
const covers = (found, view) => {
  if (!found || found.options !== JSON.stringify(options())) return false;
  const { screen, more } = windowOf(view);
  const margin = Math.min(more, view.end - view.begin) / 4;
  return found.screen === screen && found.from <= view.begin - margin && found.to >= view.end + margin;
};

/** Load what is to be shown, unless that is under way; changes at most once a second. */
const want = (urgent = false) => {
  if (section.hidden || !chart || covers(loading, chart.view)) return;
  const there = covers(loaded, chart.view);
  if (there && loaded.version === state.version) return;
  clearTimeout(timer);
  // A plan that takes long to compute is not asked for all the time.
  const pause = there ? Math.max(0, ended + Math.max(BETWEEN, 3 * took) - Date.now()) : SOON;
  timer = setTimeout(load, urgent ? 0 : pause);
};

const load = async () => {
  const chosen = options(), began = Date.now();
  abort?.abort();
  abort = new AbortController();
  const own = loading = { ...windowOf(chart.view), options: JSON.stringify(chosen) };
  let failed = false;
  try {
    const plan = await get("plan", { from: own.from, to: own.to,
      resolution: Math.round(own.screen / 300), ...chosen }, abort.signal);
    loaded = { ...own, version: plan.version };
    show(plan);
  } catch (error) {
    failed = true;
    report(error);
  }
  if (loading !== own) return; // another one was asked for meanwhile
  loading = null;
  ended = Date.now();
  took = ended - began;
  if (failed) timer = setTimeout(want, AGAIN);
  else want();
};

const show = (plan) => {
  chart.setNow(now());
  chart.setPlan(plan);
  if (detailed !== null) chooseNearest(detailed);
  offerTypes(plan.types);
  fillLegend(element("legend"), plan, plan.by === "type");
  const left = plan.left_out ? `${plan.left_out} more rows are not shown. ` : "";
  const idle = plan.idle.slice(0, 50);
  element("idle").textContent = left + (idle.length ? `Nothing planned: ${idle.join(", ")}` : "");
  fill(only, "All", plan.types);
  fill(height, "Equal", plan.height_keys);
  actual.disabled = !plan.recorded;
};

/** Offer choices of a select; the chosen one stays. */
const fill = (select, none, names) => {
  const offered = [...new Set([...names, select.value].filter(Boolean))];
  const present = [...select.options].slice(1).map((each) => each.value);
  if (offered.join("\n") === present.join("\n")) return;
  const { value } = select;
  select.replaceChildren(make("option", { value: "" }, none),
    ...offered.map((name) => make("option", { value: name }, name)));
  select.value = value;
};

// The toolbar.

const goToNow = () => {
  const span = chart.view.end - chart.view.begin;
  chart.look(now() - span / 4, span);
};
const showSpan = () => {
  const span = chart.view.end - chart.view.begin;
  for (const button of element("spans").children)
    button.setAttribute("aria-pressed", String(Number(button.dataset.span) === Math.round(span)));
};
element("spans").append(...SPANS.map(([name, span]) => make("button", {
  type: "button", "data-span": span, "aria-pressed": "false",
  onclick: () => {
    const { begin: first, end } = chart.view;
    const inside = now() >= first && now() < end;
    chart.look(inside ? now() - span / 4 : (first + end - span) / 2, span);
  },
}, name)));
element("back").addEventListener("click", () => chart.pan(-0.75));
element("forth").addEventListener("click", () => chart.pan(0.75));
element("today").addEventListener("click", goToNow);
element("zoom-in").addEventListener("click", () => chart.zoom(0.6));
element("zoom-out").addEventListener("click", () => chart.zoom(1 / 0.6));
by.value = settings.get("by", "component");
by.addEventListener("change", () => settings.set("by", by.value));
for (const each of [by, only, height, actual]) each.addEventListener("change", () => want(true));

on("changes", () => want());
on("reload", () => {
  if (loaded) loaded.version = -1;
  want(true);
});
/** Choose the run of a dispatch that is nearest, unless one is chosen already. */
const chooseNearest = (id) => {
  if (id === (chart.chosen?.id ?? null)) return;
  const bars = chart.rows.flatMap((row) => row.items)
    .filter((item) => item.id === id && item.kind === "bar")
    .sort((first, second) => first.start - second.start);
  chart.choose(bars.find((item) => chart.endOf(item) > now()) ?? bars.at(-1) ?? null, false);
};
on("details", (id) => {
  detailed = id;
  if (chart) chooseNearest(id);
});
on("zone", () => chart?.setZone(state.zone));
on("theme", () => {
  chart?.restyle();
  if (chart) fillLegend(element("legend"), chart.plan, chart.plan.by === "type");
});

/** The view was opened. */
export const openPlan = () => {
  if (!chart) begin();
  want(true);
};

/** Forget what was loaded: another microgrid was chosen. */
export const resetPlan = () => {
  abort?.abort();
  loaded = loading = null;
  only.value = height.value = "";
  chart?.choose(null);
  chart?.setPlan({ rows: [], dispatches: {}, types: [], height: null });
};

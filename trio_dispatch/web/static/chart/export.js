// The page of an exported timeline: the chart over the data in the page, with a search field.

import { createChart } from "./chart.js";
import { fillLegend } from "./legend.js";
import { zoneOf } from "./zone.js";
import { MANY, OVERRIDDEN, PULSE } from "./model.js";
import { spanText } from "./words.js";

const element = (id) => document.getElementById(id);
const plan = JSON.parse(element("data").textContent);
const zone = zoneOf(plan.zone, plan.offsets);

const describe = (item) => {
  const time = spanText(zone, item.start, item.end);
  if (item.others)
    return [["", `${item.others + 1} that cannot be told apart`], ["time", time]];
  const [head, ...rest] = plan.dispatches[item.id].lines;
  const many = `, many ${item.flags & PULSE ? "pulses" : "runs"} one after the other`;
  const how = (item.flags & MANY ? many : "") + (item.flags & OVERRIDDEN ? ", overridden" : "");
  return [head, ["time", time + how], ...rest];
};

let words = "";
const matching = () => {
  if (!words) return plan;
  const hits = (id) => {
    const text = plan.dispatches[id].lines.map((line) => line[1]).join("\n").toLowerCase();
    return words.split(/\s+/).every((word) => text.includes(word));
  };
  const found = new Set(Object.keys(plan.dispatches).filter(hits));
  const rows = plan.rows.map((row) =>
    ({ ...row, bars: row.bars.filter((bar) => found.has(String(bar[0]))) }));
  return { ...plan, rows: rows.filter((row) => row.bars.length) };
};

document.body.classList.add("live");
for (const hidden of document.querySelectorAll(".controls, #keys, #chart")) hidden.hidden = false;
const whole = () => chart.look(plan.from, plan.to - plan.from);
const chart = createChart(element("chart"), {
  zone, label: `${document.title}. Arrow keys go from run to run, with Shift they move in time; `
    + "plus and minus zoom, 0 shows everything.",
  begin: plan.from, end: plan.to, limits: [plan.from, plan.to], now: plan.now,
  describe, caption: (item) => item.others ? `${item.others + 1} in one`
    : plan.dispatches[item.id].name,
  emptyText: () => words ? "Nothing contains this." : "Nothing runs in this time.",
  keys: { 0: whole, Home: whole },
});
chart.setPlan(plan);
fillLegend(element("legend"), plan, plan.by === "type");
element("in").addEventListener("click", () => chart.zoom(0.6));
element("out").addEventListener("click", () => chart.zoom(1 / 0.6));
element("whole").addEventListener("click", whole);
element("search").addEventListener("input", (event) => {
  words = event.target.value.trim().toLowerCase();
  chart.setPlan(matching());
});

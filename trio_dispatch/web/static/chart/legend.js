// The legend: the signs that are in the chart, drawn as the chart draws them.

import { make } from "./elements.js";
import { CONFLICT, MANY, OVERRIDDEN, PULSE } from "./model.js";
import { paintSample } from "./paint.js";
import { coloursOf } from "./palette.js";
import { readTheme } from "./theme.js";

const bar = (flags, end = 20, others = 0) => ({ kind: "bar", start: 1, end, flags, others });
const ran = (state) => ({ kind: "actual", start: 1, end: 20, flags: 0, others: 0, run: { state } });
const mark = (state) => ({ kind: "mark", start: 10, flags: 0, others: 0, run: { state } });

/** Fill an element with what the signs of a plan mean.  With `byType` the rows say the types. */
export const fillLegend = (element, plan, byType) => {
  const theme = readTheme(element), colours = coloursOf(plan.types);
  const entry = (item, meaning, fill = theme.muted, dry = false) => {
    const canvas = make("canvas", { width: 44, height: 24, "aria-hidden": "true" });
    paintSample(canvas.getContext("2d"), theme, item, fill, dry);
    element.append(make("span", {}, canvas, meaning));
  };
  element.replaceChildren();
  const bars = plan.rows.flatMap((row) => row.bars);
  const single = bars.filter((each) => !each[5]);
  const has = (flag) => single.some((each) => each[4] & flag);
  const dispatchOf = (each) => plan.dispatches[each[0]];
  if (!byType) {
    const shown = new Set(bars.map((each) => dispatchOf(each).type));
    for (const [type, number] of colours)
      if (shown.has(type)) entry(bar(0), type, theme.fill[number]);
  }
  if (single.some((each) => dispatchOf(each).dry_run)) entry(bar(0), "dry run", undefined, true);
  if (has(MANY)) entry(bar(MANY), "many short runs");
  if (single.some((each) => each[2] === null)) entry(bar(0, null), "without end");
  if (single.some((each) => each[4] & PULSE && !(each[4] & MANY))) entry({ ...bar(PULSE), start: 10 }, "pulse");
  if (has(OVERRIDDEN)) entry(bar(OVERRIDDEN), "overridden");
  if (has(CONFLICT)) entry(bar(CONFLICT), "conflict of types");
  if (single.length < bars.length) entry(bar(0, 20, 1), "too many to tell apart");
  const states = new Set(plan.rows.flatMap((row) =>
    [...row.actual ?? [], ...row.marks ?? []].map((each) => each.state)));
  for (const state of ["running", "completed", "stopped", "failed", "missed", "rejected", "skipped"])
    if (states.has(state))
      entry(["missed", "rejected", "skipped"].includes(state) ? mark(state) : ran(state),
        state === "running" ? "running now" : state);
};

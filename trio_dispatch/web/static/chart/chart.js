// The chart: rows over time, to move, zoom, choose and change with pointer, touch and keyboard.
//
// Bars are painted on a canvas, which stays as large as the visible part however much there is.
// What can be operated is an element: labels, the chosen bar and its handles, the tooltip.

import { makeAxis } from "./axis.js";
import { make } from "./elements.js";
import { createGrip } from "./grip.js";
import { HEADER, paintHeader } from "./header.js";
import { attachInput } from "./input.js";
import { firstAfter, layOut, PULSE } from "./model.js";
import { paint } from "./paint.js";
import { coloursOf } from "./palette.js";
import { readTheme } from "./theme.js";
import { createTip } from "./tip.js";
import { HOUR, MINUTE } from "./zone.js";

const EMPTY = { rows: [], dispatches: {}, types: [], height: null };
const NEAR = 6;

/**
 * Fill an element with a chart, and return it.
 *
 * Options: `zone`; `label`, its name for screen readers; `begin` and `end` of the first view;
 * `limits`, [begin, end] that the view may not leave, or null; `longest`, the longest view;
 * `describe(item)`, the lines of a tooltip; `caption(item)`, the text on a bar; and what happens:
 * `onView(view)`, `onChoose(item)`, `onOpen(item, byKey)`, `onMove(item, start, end)`,
 * `onAdd(row, moment)`.
 */
export const createChart = (host, options) => {
  const axisCanvas = make("canvas", { "aria-hidden": "true" });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const corner = make("div", { class: "chart-corner" });
  const labels = make("div", { class: "chart-labels" });
  const stage = make("div", { class: "chart-stage" }, canvas);
  const message = make("p", { class: "chart-message", hidden: true });
  const space = make("div", { class: "chart-space" }, labels, stage);
  const scroller = make("div", {
    class: "chart-scroll", tabindex: "0", role: "application", "aria-label": options.label,
    "aria-roledescription": "timeline",
  }, space, message);
  const said = make("div", { class: "unseen", "aria-live": "polite" });
  host.classList.add("chart");
  host.replaceChildren(
    make("div", { class: "chart-head" }, corner, axisCanvas), scroller, said);

  const chart = {
    host, scroller, stage, options,
    zone: options.zone,
    view: { begin: options.begin, end: options.end },
    now: options.now ?? Date.now(),
    plan: EMPTY, rows: [], chosen: null, width: 0, height: 0,
  };
  let theme = null, layout = layOut(EMPTY), colours = new Map(), waiting = 0;

  // Geometry.

  chart.x = (moment) =>
    (moment - chart.view.begin) / (chart.view.end - chart.view.begin) * chart.width;
  chart.momentAt = (x) =>
    chart.view.begin + x / chart.width * (chart.view.end - chart.view.begin);
  chart.endOf = (item) => item.end
    ?? (item.kind === "actual" ? Math.max(chart.now, item.start) : chart.view.end);
  chart.rowAt = (y) => chart.rows.find((row) => y >= row.top && y < row.bottom) ?? null;
  chart.itemAt = (x, y) => {
    const row = chart.rowAt(y);
    if (!row) return null;
    const moment = chart.momentAt(x), slack = chart.momentAt(x + NEAR) - moment;
    if (y >= row.actualTop - 1 && row.actualHeight) {
      const mark = row.marks.find((each) => Math.abs(each.start - moment) <= slack);
      if (mark) return mark;
      return pick(row.actual[Math.floor((y - row.actualTop) / 9)], moment, slack / 3);
    }
    const lane = Math.floor((y - row.lanesTop) / (row.laneHeight + row.laneGap));
    return pick(row.lanes[lane], moment, slack / 3, slack);
  };
  const pick = (items, moment, slack, pulse = slack) => {
    if (!items) return null;
    let found = null;
    for (let at = firstAfter(items, moment - pulse); at < items.length; at++) {
      const item = items[at], around = item.flags & PULSE ? pulse : slack;
      if (item.start > moment + pulse) break;
      if (item.start - around <= moment && chart.endOf(item) + around >= moment) found = item;
    }
    return found;
  };

  // Painting.

  const fit = (target, width, height) => {
    const ratio = devicePixelRatio || 1;
    target.style.width = `${width}px`;
    target.style.height = `${height}px`;
    if (target.width !== Math.round(width * ratio)) target.width = Math.round(width * ratio);
    if (target.height !== Math.round(height * ratio)) target.height = Math.round(height * ratio);
    const pen = target.getContext("2d", { alpha: false });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    return pen;
  };
  const draw = () => {
    waiting = 0;
    if (!chart.width || !chart.height) return;
    theme ??= readTheme(host);
    const shown = {
      ...chart, theme, colours, caption: options.caption, top: scroller.scrollTop,
      axis: makeAxis(chart.zone, chart.view, chart.width),
    };
    paintHeader(fit(axisCanvas, chart.width, HEADER), shown);
    paint(fit(canvas, chart.width, chart.height), shown);
    grip.place();
  };
  chart.redraw = () => { waiting ||= requestAnimationFrame(draw); };
  chart.restyle = () => {
    theme = null;
    chart.redraw();
  };
  const measure = () => {
    chart.width = Math.max(scroller.clientWidth - labels.offsetWidth, 0);
    chart.height = scroller.clientHeight;
    stage.style.height = `${chart.height}px`;
    space.style.height = `${Math.max(layout.height, chart.height)}px`;
    chart.redraw();
  };
  const showLabels = () => {
    labels.replaceChildren(...chart.rows.map((row) => {
      const label = make("div", { class: "chart-label", title: row.label }, row.label);
      label.style.top = `${row.top}px`;
      label.style.height = `${row.height}px`;
      return label;
    }));
  };

  // What a page may do.

  /** Show a plan; the chosen bar stays chosen if it is still there. */
  chart.setPlan = (plan) => {
    chart.plan = plan;
    layout = layOut(plan);
    chart.rows = layout.rows;
    colours = coloursOf(plan.types);
    chart.colours = colours;
    showLabels();
    message.hidden = chart.rows.length > 0;
    message.textContent = options.emptyText?.() ?? "Nothing runs in this time.";
    if (chart.chosen) chart.choose(chart.find(chart.chosen.key), false);
    measure();
  };
  chart.find = (key) => {
    for (const row of chart.rows) {
      const item = row.items.find((each) => each.key === key);
      if (item) return item;
    }
    return null;
  };
  chart.look = (begin, span) => {
    const [first, last] = options.limits ?? [-Infinity, Infinity];
    const longest = Math.min(options.longest ?? Infinity, last - first);
    span = Math.min(Math.max(span, Math.min(2 * MINUTE, longest)), longest);
    begin = Math.min(Math.max(begin, first), last - span);
    chart.view = { begin, end: begin + span };
    tip.hide();
    chart.redraw();
    options.onView?.(chart.view);
  };
  chart.zoom = (factor, share = 0.5) => {
    const span = chart.view.end - chart.view.begin;
    const [first, last] = options.limits ?? [-Infinity, Infinity];
    const longest = Math.min(options.longest ?? Infinity, last - first);
    const after = Math.min(Math.max(span * factor, Math.min(2 * MINUTE, longest)), longest);
    chart.look(chart.view.begin + (span - after) * share, after);
  };
  chart.pan = (share) => {
    const span = chart.view.end - chart.view.begin;
    chart.look(chart.view.begin + span * share, span);
  };
  chart.setNow = (now) => {
    chart.now = now;
    chart.redraw();
  };
  chart.setZone = (zone) => {
    chart.zone = zone;
    corner.textContent = zone.name;
    chart.redraw();
  };
  chart.choose = (item, tell = true) => {
    chart.chosen = item;
    if (!item) tip.hide();
    if (item && tell) said.textContent = [item.row.label,
      ...options.describe(item).map((line) => line.filter(Boolean).join(" "))].join(", ");
    grip.place();
    if (tell) options.onChoose?.(item);
  };
  /** Bring an item into view. */
  chart.reveal = (item) => {
    const { begin, end } = chart.view, span = end - begin;
    if (item.start < begin || item.start > end - span / 20)
      chart.look(item.start - span / 4, span);
    const { top, bottom } = item.row;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + chart.height)
      scroller.scrollTop = Math.min(top, bottom - chart.height);
  };
  /** The finest step to which a time is rounded when a bar is dragged. */
  chart.step = () => {
    const pixel = (chart.view.end - chart.view.begin) / chart.width;
    return [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR]
      .find((step) => step >= 4 * pixel) ?? 24 * HOUR;
  };

  const tip = createTip(chart);
  const grip = createGrip(chart);
  attachInput(chart, tip);
  chart.setZone(options.zone);
  scroller.addEventListener("scroll", () => {
    tip.hide();
    chart.redraw();
  }, { passive: true });
  new ResizeObserver(measure).observe(scroller);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", chart.restyle);
  return chart;
};

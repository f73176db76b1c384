// Paints the visible part of the chart on a canvas.

import { CONFLICT, MANY, OVERRIDDEN, PULSE, firstAfter, placeOf } from "./model.js";
import { patternOf } from "./theme.js";

const LEAST = 2, DIAMOND = 6.5, TEXT_ROOM = 34;

const widths = new Map();

/** Return as much of a text as has room, in the pen's font. */
export const fitted = (pen, text, room) => {
  const key = pen.font + text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 20000) widths.clear();
    widths.set(key, width = pen.measureText(text).width);
  }
  if (width <= room) return text;
  const letters = [...text];
  const kept = Math.floor(letters.length * (room - 12) / width);
  return kept >= 3 ? `${letters.slice(0, kept).join("")}…` : "";
};

/** Paint rows; `shown` has the view, plan, rows, colours, theme, now, width, height and top. */
export const paint = (pen, chart) => {
  const shown = { ...chart, placeOf };
  const { theme, width, height, top } = shown;
  pen.fillStyle = theme.ground;
  pen.fillRect(0, 0, width, height);
  pen.save();
  pen.translate(0, -top);
  const rows = shown.rows.filter((row) => row.bottom > top && row.top < top + height);
  for (const row of rows) paintBand(pen, shown, row);
  paintGrid(pen, shown);
  for (const row of rows) paintRow(pen, shown, row);
  paintNow(pen, shown);
  pen.restore();
};

const paintBand = (pen, { theme, width }, row) => {
  if (row.place % 2) return;
  pen.fillStyle = theme.band;
  pen.fillRect(0, row.top, width, row.height);
};

const paintGrid = (pen, { axis, theme, view, x, top, height }) => {
  const [ticks, spans] = axis;
  pen.fillStyle = theme.grid;
  for (const [moment] of ticks) pen.fillRect(Math.round(x(moment)), top, 1, height);
  pen.fillStyle = theme.strong;
  for (const [begin] of spans)
    if (begin > view.begin) pen.fillRect(Math.round(x(begin)), top, 1, height);
};

const paintNow = (pen, { now, theme, view, x, top, height }) => {
  if (now < view.begin || now >= view.end) return;
  pen.fillStyle = theme.now;
  pen.fillRect(x(now) - 0.75, top, 1.5, height);
};

const paintRow = (pen, shown, row) => {
  const { view } = shown;
  for (const lane of row.lanes) paintLane(pen, shown, lane, paintBar);
  for (const lane of row.actual) paintLane(pen, shown, lane, paintActual);
  for (let at = firstAfter(row.marks, view.begin); at < row.marks.length; at++) {
    if (row.marks[at].start > view.end) break;
    paintMark(pen, shown, row.marks[at]);
  }
};

const paintLane = (pen, shown, items, paintItem) => {
  const { view, x, width, now } = shown;
  let full = -1; // what would be hidden by the last item only costs time
  for (let at = firstAfter(items, view.begin); at < items.length; at++) {
    const item = items[at];
    if (item.start >= view.end) break;
    const end = item.end ?? (item.kind === "actual" ? Math.max(now, item.start) : Infinity);
    if (end < view.begin && !(item.flags & PULSE)) continue;
    const last = end === Infinity ? width + 9 : Math.min(x(end), width + 9);
    if (last < full + 0.5) continue;
    const first = Math.max(x(item.start), -9);
    paintItem(pen, shown, item, first, Math.max(last, first + LEAST));
    full = Math.max(last, first + 1);
  }
};

const box = (pen, first, y, width, height) => {
  pen.beginPath();
  if (width < 5) pen.rect(first, y, width, height);
  else pen.roundRect(first, y, width, height, Math.min(3, height / 2));
};

const diamond = (pen, x, y, half) => {
  pen.beginPath();
  pen.moveTo(x, y - half);
  pen.lineTo(x + half, y);
  pen.lineTo(x, y + half);
  pen.lineTo(x - half, y);
  pen.closePath();
};

const paintBar = (pen, shown, item, first, last) => {
  const { theme, plan, colours } = shown;
  const dispatch = plan.dispatches[item.id];
  const number = colours.get(dispatch.type) ?? 0;
  const colour = item.others ? theme.crowd : theme.fill[number];
  const [y, height] = shown.placeOf(item);
  const width = last - first > 5 && item.end !== null ? last - first - 1 : last - first;
  const dry = dispatch.dry_run && !item.others, many = item.flags & MANY && !item.others;
  pen.globalAlpha = item.flags & OVERRIDDEN ? 0.32 : 1;
  pen.fillStyle = dry ? patternOf(theme, pen, "dry", colour)
    : many ? patternOf(theme, pen, "many", colour) : colour;
  if (item.flags & PULSE && !many && !item.others) {
    diamond(pen, shown.x(item.start), y + height / 2, Math.min(height / 2, DIAMOND));
    pen.fill();
  } else {
    const [bodyY, body] = item.flags & PULSE ? [y + 0.3 * height, 0.4 * height]
      : plan.height ? heightOf(plan, dispatch, item, y, height) : [y, height];
    if (plan.height && body < height - 1) {
      pen.globalAlpha *= 0.18;
      box(pen, first, y, width, height);
      pen.fill();
      pen.globalAlpha = item.flags & OVERRIDDEN ? 0.32 : 1;
    }
    if (item.end === null) arrow(pen, first, bodyY, Math.min(width, shown.width - first), body);
    else box(pen, first, bodyY, width, body);
    pen.fill();
  }
  if (dry && width > 3 && !(item.flags & PULSE)) {
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    box(pen, first + 0.5, y + 0.5, width - 1, height - 1);
    pen.stroke();
  }
  pen.globalAlpha = 1;
  if (item.flags & CONFLICT) paintConflict(pen, theme, first, y, width);
  const whole = !(dry || many || plan.height || item.flags & OVERRIDDEN);
  paintCaption(pen, shown, item, first, width, y, height,
    whole ? (item.others ? theme.ground : theme.on[number]) : null);
};

const heightOf = (plan, dispatch, item, y, height) => {
  const value = dispatch.height;
  if (typeof value !== "number" || item.others) return [y, height];
  const low = Math.min(0, plan.height.min), high = Math.max(0, plan.height.max);
  const scale = height / (high - low || 1);
  const zero = y + high * scale;
  const size = Math.max(Math.abs(value) * scale, 2);
  return value >= 0 ? [Math.max(y, zero - size), size] : [Math.min(zero, y + height - size), size];
};

const arrow = (pen, first, y, width, height) => {
  const tip = Math.min(8, width / 2);
  pen.beginPath();
  pen.moveTo(first, y);
  pen.lineTo(first + width - tip, y);
  pen.lineTo(first + width, y + height / 2);
  pen.lineTo(first + width - tip, y + height);
  pen.lineTo(first, y + height);
  pen.closePath();
};

const paintConflict = (pen, theme, first, y, width) => {
  pen.fillStyle = theme.conflict;
  pen.fillRect(first, y, width, 2.5);
  if (width < 9) return;
  pen.beginPath();
  pen.moveTo(first + width, y);
  pen.lineTo(first + width, y + 9);
  pen.lineTo(first + width - 9, y);
  pen.fill();
};

const paintCaption = (pen, shown, item, first, width, y, height, ink) => {
  const left = Math.max(first, 0), room = Math.min(first + width, shown.width) - left - 11;
  if (height < 13 || room < TEXT_ROOM || item.flags & PULSE) return;
  const { theme } = shown;
  pen.font = `500 11px ${theme.font}`;
  const text = fitted(pen, shown.caption(item), room);
  if (!text) return;
  const base = y + height / 2 + 3.8;
  if (ink === null) {
    pen.strokeStyle = theme.ground;
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeText(text, left + 6, base);
  }
  pen.fillStyle = ink ?? theme.ink;
  pen.fillText(text, left + 6, base);
};

// What was reported.

const paintActual = (pen, shown, item, first, last) => {
  const { theme } = shown;
  const [y, height] = shown.placeOf(item);
  const width = Math.max(last - first - 1, LEAST);
  const { state } = item.run;
  const colour = item.others ? theme.crowd
    : state === "failed" || state === "rejected" ? theme.bad
    : state === "running" ? theme.good : state === "completed" ? theme.ink : theme.muted;
  pen.fillStyle = colour;
  if (state === "stopped" || state === "skipped") {
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    box(pen, first + 0.75, y + 0.75, Math.max(width - 1.5, 1), height - 1.5);
    pen.stroke();
    return;
  }
  box(pen, first, y, width, height);
  pen.fill();
  if (state === "failed") cross(pen, theme, Math.min(last, shown.width - 6), y + height / 2);
};

const cross = (pen, theme, x, y) => {
  pen.lineCap = "round";
  for (const [colour, width] of [[theme.ground, 5], [theme.bad, 2.5]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    for (const side of [-1, 1]) {
      pen.moveTo(x - 3.5 * side, y - 3.5);
      pen.lineTo(x + 3.5 * side, y + 3.5);
    }
    pen.stroke();
  }
  pen.lineCap = "butt";
};

const paintMark = (pen, shown, item) => {
  const { theme } = shown;
  const [top, height] = shown.placeOf(item);
  const x = shown.x(item.start), y = top + height / 2;
  if (item.run.state === "failed" || item.run.state === "rejected") {
    cross(pen, theme, x, y);
    return;
  }
  pen.strokeStyle = item.run.state === "missed" ? theme.bad : theme.muted;
  pen.fillStyle = theme.ground;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y, 3.5, 0, 2 * Math.PI);
  pen.fill();
  pen.stroke();
};

/** Paint a sign for the legend, 22 by 12 pixels. */
export const paintSample = (pen, theme, item, fill, dry) => {
  pen.scale(2, 2);
  const shown = {
    theme: { ...theme, fill: [fill], on: [theme.ground] }, width: 22, x: (moment) => moment,
    colours: new Map(), plan: { dispatches: { [item.id]: { dry_run: dry } }, height: null },
    caption: () => "", placeOf: () => (item.kind === "actual" ? [3, 7] : [1, 10]),
  };
  if (item.kind === "mark") paintMark(pen, shown, item);
  else (item.kind === "actual" ? paintActual : paintBar)(pen, shown, item, 1, 21);
};

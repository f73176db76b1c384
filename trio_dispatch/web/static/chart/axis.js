// The axis: as many round local times as have room, and the days, months or years around them.

import { calendar, clock, dayName, DAYS, MONTHS } from "./words.js";
import { DAY, HOUR, MINUTE, SECOND, momentOf } from "./zone.js";

const STEPS = [SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE,
  2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR,
  12 * HOUR];

const startOf = { // of the day, month or year of a local time, or of one some units later
  day: (local, more) => {
    const date = calendar(local);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + more);
  },
  month: (local, more) => {
    const date = calendar(local);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + more, 1);
  },
  year: (local, more) => Date.UTC(calendar(local).getUTCFullYear() + more, 0, 1),
};
const numberOf = { // decides which units are round ones; day 0 was a Thursday
  day: (local) => Math.round(local / DAY) + 3,
  month: (local) => calendar(local).getUTCMonth(),
  year: (local) => calendar(local).getUTCFullYear(),
};

const boundaries = (zone, view, unit, step) => {
  const found = [];
  let local = startOf[unit](view.begin + zone.offset(view.begin), 0);
  for (; ; local = startOf[unit](local, 1)) {
    const moment = momentOf(zone, local);
    if (moment >= view.end) return found;
    if (moment >= view.begin && numberOf[unit](local) % step === 0) found.push([moment, local]);
  }
};

const clockTicks = (zone, view, step) => {
  const found = [];
  const regimes = zone.offsets(view.begin, view.end);
  regimes.forEach(([since, shift], place) => {
    const from = place ? Math.max(view.begin, since) : view.begin;
    const to = place + 1 < regimes.length ? Math.min(view.end, regimes[place + 1][0]) : view.end;
    for (let local = Math.ceil((from + shift) / step) * step; local - shift < to; local += step)
      found.push([local - shift, clock(local, step < MINUTE)]);
  });
  return found;
};

const spans = (zone, view, unit, names) => {
  const starts = boundaries(zone, view, unit, 1);
  if (!starts.length || starts[0][0] > view.begin)
    starts.unshift([view.begin, view.begin + zone.offset(view.begin)]);
  return starts.map(([moment, local], place) =>
    [moment, place + 1 < starts.length ? starts[place + 1][0] : view.end, names(local, !place)]);
};

const monthName = (local) => MONTHS[calendar(local).getUTCMonth()];
const yearName = (local) => String(calendar(local).getUTCFullYear());

const dayNames = (local, first) => {
  const name = dayName(local);
  return [...(first ? [`${name} ${yearName(local)}`] : []), name, name.slice(4)];
};
const monthNames = (local, first) => {
  const month = monthName(local);
  const year = first || month === "January" ? [`${month} ${yearName(local)}`] : [];
  return [...year, month, month.slice(0, 3)];
};

/**
 * Return the ticks, [[moment, label], ...], and the spans around them, [[begin, end, names], ...],
 * the longest name first.  `size` is the width of the view in pixels.
 */
export const makeAxis = (zone, view, size) => {
  const scale = size / (view.end - view.begin);
  for (const step of STEPS)
    if (step * scale >= (step < MINUTE ? 62 : 46))
      return [clockTicks(zone, view, step), spans(zone, view, "day", dayNames)];
  for (const step of [1, 2, 7, 14])
    if (step * DAY * scale >= 28) {
      const long = step * DAY * scale >= 56;
      const name = (local) => (long ? `${DAYS[calendar(local).getUTCDay()]} ` : "")
        + calendar(local).getUTCDate();
      return [boundaries(zone, view, "day", step).map(([moment, local]) => [moment, name(local)]),
        spans(zone, view, "month", monthNames)];
    }
  for (const step of [1, 2, 3, 6])
    if (step * 28 * DAY * scale >= 36)
      return [boundaries(zone, view, "month", step)
        .map(([moment, local]) => [moment, monthName(local).slice(0, 3)]),
      spans(zone, view, "year", (local) => [yearName(local)])];
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find(
    (years) => years * 365 * DAY * scale >= 46) || 2000;
  return [boundaries(zone, view, "year", step).map(([moment, local]) => [moment, yearName(local)]),
    []];
};

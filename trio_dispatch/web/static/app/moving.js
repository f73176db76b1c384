// What a dispatch must become so that one of its occurrences moves.  Pure.

import { DAY, HOUR, MINUTE } from "../chart/zone.js";

const WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const modulo = (value, size) => ((value % size) + size) % size;
const dayOf = (moment) => Math.floor(moment / DAY);

const LONG = new Set(["monthly", "yearly"]);
/** Whether two days are as far apart in each month. */
const isSameInEachMonth = (from, to) => {
  const [first, second] = [new Date(from), new Date(to)];
  return first.getUTCMonth() === second.getUTCMonth()
    && Math.max(first.getUTCDate(), second.getUTCDate()) <= 28;
};

/** The rule cannot be moved by so much. */
export class CannotMove extends Error {}

/** Return the recurrence rule whose occurrence at `from` is at `to`; times are in UTC. */
export const movedRule = (rule, from, to) => {
  const moved = structuredClone(rule);
  const days = dayOf(to) - dayOf(from);
  const delta = to - from;
  const clock = modulo(to, DAY);
  if (rule.byminutes.length) {
    if (rule.byminutes.length > 1 && delta % HOUR)
      throw new CannotMove("The rule names several minutes: edit the rule instead.");
    if (rule.byminutes.length === 1) moved.byminutes = [Math.floor(clock / MINUTE) % 60];
  }
  if (rule.byhours.length > 1) {
    const hours = delta / HOUR;
    const after = rule.byhours.map((hour) => hour + hours);
    if (hours % 1 || after.some((hour) => hour < 0 || hour > 23))
      throw new CannotMove("The rule names several hours: edit the rule instead.");
    moved.byhours = after;
  } else if (rule.byhours.length === 1) moved.byhours = [Math.floor(clock / HOUR)];
  if (days && rule.byweekdays.length)
    moved.byweekdays = rule.byweekdays
      .map((day) => modulo(WEEKDAYS.indexOf(day) + days, 7)).sort((a, b) => a - b)
      .map((day) => WEEKDAYS[day]);
  if (days && (rule.bymonthdays.length || rule.bymonths.length))
    throw new CannotMove("The rule names days of the month or months: edit the rule instead.");
  if (days && LONG.has(rule.frequency) && !isSameInEachMonth(from, to))
    throw new CannotMove("Months differ in length: edit the rule instead.");
  return moved;
};

/** Return the first moment of a moved dispatch: none in the past, which the API does not allow. */
export const movedStart = (record, starts, from, to, now) => {
  const delta = to - from;
  const whole = Date.parse(record.start_time) + delta;
  if (whole >= now) return whole;
  const next = starts.map((start) => start + delta).find((start) => start >= now);
  if (next === undefined) throw new CannotMove("A run in the past cannot be moved.");
  return next;
};

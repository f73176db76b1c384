// Times in words, in a zone.

import { SECOND } from "./zone.js";

export const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
export const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August",
  "September", "October", "November", "December"];

/** The parts of a local time are those that UTC shows. */
export const calendar = (local) => new Date(local);
const two = (number) => String(number).padStart(2, "0");

export const clock = (local, seconds = false) => {
  const date = calendar(local);
  const short = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  return seconds ? `${short}:${two(date.getUTCSeconds())}` : short;
};

export const dayName = (local) => {
  const date = calendar(local);
  return `${DAYS[date.getUTCDay()]} ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()].slice(0, 3)}`;
};

/** Return the day and the time of a moment, as two texts. */
export const dayAndTime = (zone, moment) => {
  const local = moment + zone.offset(moment);
  const seconds = Math.floor(local / SECOND) % 60 !== 0;
  return [`${dayName(local)} ${calendar(local).getUTCFullYear()}`, clock(local, seconds)];
};

export const momentText = (zone, moment) => dayAndTime(zone, moment).join(", ");

/** Return a time range as text; a common day is written once. */
export const spanText = (zone, start, end) => {
  const [day, time] = dayAndTime(zone, start);
  if (end === null) return `${day}, ${time} without end`;
  if (start === end) return `${day}, ${time}`;
  const [lastDay, lastTime] = dayAndTime(zone, end);
  return `${day}, ${time} to ${day === lastDay ? "" : `${lastDay}, `}${lastTime}`;
};

/** Return a duration in at most two units, for people: "1 h 30 min". */
export const durationText = (milliseconds) => {
  let rest = Math.round(Math.abs(milliseconds) / SECOND);
  const parts = [];
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count && parts.length < 2) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.join(" ") || "0 s";
};

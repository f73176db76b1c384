// Values of dispatches and runs as texts.

import { durationText, momentText } from "../chart/words.js";
import { state } from "./state.js";

/** Return a time of the server, which is a text or milliseconds, in the chosen zone. */
export const timeText = (time) => time === null || time === undefined ? ""
  : momentText(state.zone, typeof time === "number" ? time : Date.parse(time));

/** Return the last part of an actor's name: most are paths of functions, "site.heating.heat". */
export const actorName = (run) => run.actor?.split(".").at(-1) ?? "";

/** Return a duration in seconds as one that the editor reads: 5400 is "1h30m". */
export const durationInput = (seconds) => {
  if (seconds === 0) return "0s";
  let rest = Math.round(seconds), text = "";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) text += `${count}${unit}`;
  }
  return text;
};

export const durationWords = (seconds) => seconds === null ? "without end"
  : seconds === 0 ? "pulse" : durationText(seconds * 1000);

export const ruleWords = (dispatch) => dispatch.rule || "once";

export const payloadText = (payload) =>
  payload && Object.keys(payload).length ? JSON.stringify(payload, null, 2) : "";

export const titleOf = (dispatch) => `${dispatch.type} #${dispatch.id}`;

/** Return an occurrence in words: local time, and its mark when daylight saving changes. */
export const occurrenceText = (occurrence) => {
  const offset = occurrence.offset === "+00:00" ? "UTC" : `UTC${occurrence.offset}`;
  return [timeText(occurrence.start), offset];
};

/** Return how long ago a time is: "3 min ago". */
export const agoText = (time, now) => {
  const passed = now - Date.parse(time);
  return passed < 5000 ? "now" : `${durationText(passed).split(" ").slice(0, 2).join(" ")} ago`;
};

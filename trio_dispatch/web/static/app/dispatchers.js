// The state of each dispatcher.

import { definitions, make } from "../chart/elements.js";
import { durationText } from "../chart/words.js";
import { get } from "./api.js";
import { agoText, timeText } from "./format.js";
import { report } from "./notices.js";
import { badge } from "./parts.js";
import { now, on } from "./state.js";

const section = document.getElementById("dispatchers");
const cards = make("div", { class: "cards" });
section.append(cards);
const KINDS = { live: "good", offline: "bad", unknown: "" };

const secondsText = (seconds) => seconds === null || seconds === undefined ? "unknown"
  : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : durationText(seconds * 1000);

const cardOf = (each) => make("article", { class: "card" },
  make("h2", {}, each.name),
  badge(each.state === "offline" && each.offline_since
    ? `offline since ${timeText(each.offline_since)}` : each.state, KINDS[each.state] ?? ""),
  definitions([["Version", each.version || "unknown"],
    ["Connection", each.connection ?? "unknown"],
    ["Lateness", secondsText(each.lateness) + (each.worst_lateness ? `, at worst ${secondsText(each.worst_lateness)}` : "")],
    ...(each.waiting ? [["Waiting", `${each.waiting} reports`]] : []),
    ["Last report", `${timeText(each.last_report_time)} (${agoText(each.last_report_time, now())})`],
    ["First report", timeText(each.first_report_time)],
    ...(each.lost ? [["Lost reports", String(each.lost)]] : [])]));

const load = async () => {
  if (section.hidden) return;
  try {
    const found = await get("dispatchers");
    cards.replaceChildren(...found.dispatchers.map(cardOf));
    if (!found.recorded) cards.append(make("p", { class: "muted" }, "The service does not keep runs, so it knows no dispatchers."));
    else if (!found.dispatchers.length) cards.append(make("p", { class: "muted" }, "No dispatcher has reported yet."));
  } catch (error) {
    report(error);
  }
};

on("dispatchers", load);
on("reload", load);
on("zone", load);
setInterval(() => document.hidden || load(), 15_000);

/** The view was opened. */
export const openDispatchers = load;

// Parts that several views show.

import { make } from "../chart/elements.js";
import { actorName, occurrenceText } from "./format.js";

export const badge = (text, kind = "") => make("span", { class: `pill ${kind}` }, text);

/** Return a list of occurrences, with a mark where the offset from UTC changes. */
export const occurrencesOf = (occurrences) => occurrences.length
  ? make("ol", { class: "occurrences" }, ...occurrences.map((each) => {
    const [time, offset] = occurrenceText(each);
    return make("li", {}, make("span", {}, time), make("span", { class: "muted" }, offset),
      each.change ? badge(`clocks change: before, it was UTC${each.change}`, "warn") : null);
  })) : make("p", { class: "muted" }, "It has no further occurrence.");

/** Return who reported a run; the whole name of the actor is the tooltip. */
export const reporter = (run) => make("span", { title: run.actor || null },
  [run.dispatcher, actorName(run)].filter(Boolean).join(", ")
  + (run.component === null ? "" : ` [${run.component}]`));

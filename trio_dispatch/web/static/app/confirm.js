// Asks before a change, with the old and the new values.

import { make } from "../chart/elements.js";
import { openDialog } from "./dialog.js";

const occurrencesList = (title, texts) => texts?.length
  ? [make("h3", {}, title), make("ul", { class: "plain" }, ...texts.map((text) => make("li", {}, text)))]
  : [];

/**
 * Ask for a change and make it; return its result, or null if it was cancelled.
 *
 * `rows` are [name, old, new], with null for no old or no new value; `notes` are sentences; `next`
 * are the next occurrences after the change, as texts; `change` makes the change.
 */
export const confirmChange = (title, { rows, notes = [], next, action, danger, change }) => {
  const hasOld = rows.some((row) => row[1] !== null), hasNew = rows.some((row) => row[2] !== null);
  const cell = (text, kind) => make("td", { class: kind }, text || "–");
  const table = make("table", { class: "differences" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, make("span", { class: "unseen" }, "Field")),
      ...(hasOld ? [make("th", { scope: "col" }, "Now")] : []),
      ...(hasNew ? [make("th", { scope: "col" }, hasOld ? "After" : "Value")] : []))),
    make("tbody", {}, ...rows.map(([name, old, after]) => make("tr", {},
      make("th", { scope: "row" }, name),
      ...(hasOld ? [cell(old, "old")] : []), ...(hasNew ? [cell(after, "new")] : [])))));
  const content = make("div", { class: "stack" }, table,
    ...notes.map((note) => make("p", { class: "note" }, note)),
    ...occurrencesList("Next occurrences after the change", next));
  const dialog = openDialog(title, {
    className: "confirm", content, action, danger,
    submit: async () => dialog.finish({ result: await change() }),
  });
  return dialog.done.then((value) => value && value.result);
};

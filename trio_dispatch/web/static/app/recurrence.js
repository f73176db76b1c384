// The fields of a recurrence rule.

import { make } from "../chart/elements.js";

const UNITS = { minutely: "minutes", hourly: "hours", daily: "days", weekly: "weeks",
  monthly: "months", yearly: "years" };
const WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LISTS = [["byhours", "Hours", "6, 18"], ["byminutes", "Minutes", "0, 30"],
  ["bymonthdays", "Days of the month", "1, 15, -1"], ["bymonths", "Months", "3, 10"]];

const option = (value, text) => make("option", { value }, text);
const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** Return numbers from a text such as "6, 18"; what is not a number stays a text, for the server. */
const numbers = (text) => text.split(/[\s,]+/).filter(Boolean)
  .map((each) => /^-?\d+$/.test(each) ? Number(each) : each);

/** Return the `element` with the fields, and `read`, which returns the rule or null. */
export const recurrenceFields = (rule, { inputOf, momentOfInput }) => {
  const frequency = make("select", {}, option("", "Does not repeat"),
    ...Object.keys(UNITS).map((name) => option(name, capital(name))));
  frequency.value = rule?.frequency ?? "";
  const interval = make("input", { type: "number", min: "1", max: "10000", value: String(rule?.interval ?? 1) });
  const unit = make("span");
  const days = WEEKDAYS.map((day) => {
    const box = make("input", { type: "checkbox", value: day });
    box.checked = rule?.byweekdays?.includes(day) ?? false;
    return box;
  });
  const lists = LISTS.map(([name, label, placeholder]) => [name, label,
    make("input", { value: (rule?.[name] ?? []).join(", "), placeholder, inputmode: "text" })]);
  const ends = make("select", { "aria-label": "End" },
    option("", "never"), option("count", "after a number of occurrences"), option("until", "at a time"));
  const count = make("input", { type: "number", min: "1", "aria-label": "Number of occurrences",
    value: String(rule?.end_criteria?.count ?? 10) });
  const until = make("input", { type: "datetime-local", step: "1", "aria-label": "Last time",
    value: rule?.end_criteria?.until ? inputOf(Date.parse(rule.end_criteria.until)) : "" });
  ends.value = rule?.end_criteria ? Object.keys(rule.end_criteria)[0] : "";

  const more = make("details", {}, make("summary", {}, "Hours, minutes, days, months (UTC)"),
    make("div", { class: "two" }, ...lists.map(([, label, input]) =>
      make("label", { class: "field" }, make("span", {}, label), input))));
  more.open = lists.some(([, , input]) => input.value);
  const rest = make("div", { class: "stack" },
    make("label", { class: "inline" }, "Every ", interval, unit),
    make("fieldset", { class: "days" }, make("legend", {}, "Days of the week (UTC)"),
      ...days.map((box) => make("label", { class: "day" }, box, make("span", {}, capital(box.value))))),
    more,
    make("div", { class: "inline" }, make("span", {}, "Ends "), ends, count, until));
  const element = make("div", { class: "field recurrence", "data-field": "recurrence" },
    make("label", { class: "field" }, make("span", {}, "Repeats"), frequency), rest,
    make("span", { class: "error" }));
  const show = () => {
    rest.hidden = !frequency.value;
    unit.textContent = UNITS[frequency.value] ?? "";
    count.hidden = ends.value !== "count";
    until.hidden = ends.value !== "until";
  };
  element.addEventListener("input", show);
  show();

  const end = () => ends.value === "count" ? { count: Number(count.value) }
    : ends.value === "until" && until.value
      ? { until: new Date(momentOfInput(until.value)).toISOString() } : null;
  const read = () => !frequency.value ? null : {
    frequency: frequency.value, interval: Number(interval.value),
    end_criteria: end(),
    byweekdays: days.filter((box) => box.checked).map((box) => box.value),
    ...Object.fromEntries(lists.map(([name, , input]) => [name, numbers(input.value)])),
  };
  return { element, read };
};

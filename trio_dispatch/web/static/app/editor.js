// The editor of a dispatch, which shows the occurrences while one types.

import { make } from "../chart/elements.js";
import { momentOf } from "../chart/zone.js";
import { confirmCreate, confirmUpdate, preview } from "./changes.js";
import { openDialog } from "./dialog.js";
import { durationInput, payloadText, timeText, titleOf } from "./format.js";
import { report } from "./notices.js";
import { occurrencesOf } from "./parts.js";
import { recurrenceFields } from "./recurrence.js";
import { emit, now, state } from "./state.js";

const PAUSE = 200;

/** Return a moment as the value of an input for local times. */
const inputOf = (moment) => new Date(moment + state.zone.offset(moment)).toISOString().slice(0, 19);
const momentOfInput = (text) => momentOf(state.zone, Date.parse(`${text}Z`));

let known = [];
/** Remember the types that exist, to offer them. */
export const offerTypes = (types) => { known = types; };

const field = (label, input, name, hint = "") => {
  const error = make("span", { class: "error", id: `error-${name}` });
  input.setAttribute("aria-describedby", error.id);
  return make("label", { class: "field", "data-field": name }, make("span", {}, label), input,
    hint ? make("span", { class: "hint" }, hint) : null, error);
};

/** Open the editor.  `values` is a record to begin with; with `record` it is updated. */
const openEditor = (title, values, record = null) => {
  const startsNow = make("input", { type: "checkbox" });
  const inputs = {
    type: make("input", { value: values.type ?? "", list: "types", required: true, maxlength: "256", disabled: Boolean(record) }),
    target: make("input", { value: values.target_text ?? "", placeholder: "1-3, or battery" }),
    start: make("input", { type: "datetime-local", step: "1", value: inputOf(values.start) }),
    duration: make("input", { value: values.duration === null ? "" : durationInput(values.duration ?? 3600), placeholder: "without end" }),
    payload: make("textarea", { rows: "4", spellcheck: "false", value: payloadText(values.payload), placeholder: "{}" }),
    active: make("input", { type: "checkbox" }),
    dryRun: make("input", { type: "checkbox", disabled: Boolean(record) }),
  };
  inputs.active.checked = values.active ?? true;
  inputs.dryRun.checked = values.dry_run ?? false;
  const recurrence = recurrenceFields(values.recurrence ?? null, { inputOf, momentOfInput });
  const read = () => ({
    type: inputs.type.value.trim(), target: inputs.target.value.trim(),
    start_time: startsNow.checked ? "NOW" : inputs.start.value
      ? new Date(momentOfInput(inputs.start.value)).toISOString() : "",
    duration: inputs.duration.value.trim() || null,
    payload: inputs.payload.value.trim() || "{}",
    active: inputs.active.checked, dry_run: inputs.dryRun.checked, recurrence: recurrence.read(),
  });
  const content = () => ({ ...read(), payload: JSON.parse(read().payload) });

  const outcome = make("div", { class: "preview", "aria-live": "polite" });
  const left = make("div", { class: "fields" },
    field("Type", inputs.type, "type"), make("datalist", { id: "types" }, ...known.map((type) => make("option", { value: type }))),
    field("Target", inputs.target, "target", "Component ids, or categories such as battery:li_ion"),
    make("div", { class: "two" },
      field(`Start (${state.zone.name})`, inputs.start, "start_time"),
      field("Duration", inputs.duration, "duration", "1h30m; 0s for a pulse; empty for no end")),
    record ? null : make("label", { class: "check" }, startsNow, " Start now"),
    recurrence.element,
    field("Payload (JSON)", inputs.payload, "payload"),
    make("div", { class: "checks" },
      make("label", { class: "check" }, inputs.active, " Active"),
      make("label", { class: "check" }, inputs.dryRun, " Dry run")));
  const right = make("div", { class: "side" }, make("h3", {}, "Preview"), outcome);
  const dialog = openDialog(title, {
    className: "editor", content: make("div", { class: "columns" }, left, right),
    action: record ? "Review changes" : "Review", submit: () => review(),
  });

  const showErrors = (errors) => {
    for (const place of left.querySelectorAll("[data-field] > .error")) {
      const { field: name } = place.parentElement.dataset;
      const messages = Object.entries(errors).filter(([key]) => key === name || key.startsWith(`${name}.`));
      place.textContent = messages.map(([, message]) => message).join(" ");
    }
    const named = [...left.querySelectorAll("[data-field]")].map((each) => each.dataset.field);
    const others = Object.entries(errors)
      .filter(([key]) => !named.some((name) => key === name || key.startsWith(`${name}.`)));
    dialog.error.textContent = others.map(([, message]) => message).join(" ");
  };
  // What is still to be filled in is no error before somebody wants to go on.
  let reviewing = false;
  const mistakes = (errors) => reviewing ? errors
    : Object.fromEntries(Object.entries(errors).filter(([name]) => inputs[name]?.value !== ""));
  let asked = 0, last = null;
  const check = async () => {
    const turn = ++asked;
    last = null;
    let dispatch;
    try {
      dispatch = content();
    } catch {
      showErrors({ payload: "This is not valid JSON." });
      return null;
    }
    if (!dispatch.start_time) {
      showErrors({ start_time: "A start is required." });
      return null;
    }
    const found = await preview(dispatch);
    if (turn !== asked) return null;
    showErrors(found.valid ? {} : mistakes(found.errors));
    if (found.valid) showPreview(found);
    else outcome.replaceChildren(make("p", { class: "muted" }, "The occurrences appear here when all fields are valid."));
    last = found;
    return found;
  };
  const showPreview = (found) => outcome.replaceChildren(
    make("p", { class: "rule" }, found.rule || "once"),
    ...(found.warning ? [make("p", { class: "note" }, found.warning)] : []),
    occurrencesOf(found.occurrences),
    ...(found.total ? [make("p", { class: "muted" }, `${found.total} occurrences in all.`)] : []),
    ...(found.last ? [make("p", { class: "muted" }, `The last one: ${timeText(found.last)}.`)] : []));
  let timer = 0;
  const soon = () => {
    inputs.start.disabled = startsNow.checked;
    clearTimeout(timer);
    timer = setTimeout(() => check().catch(report), PAUSE);
  };
  left.addEventListener("input", soon);
  const initial = JSON.stringify(read());

  const review = async () => {
    clearTimeout(timer);
    reviewing = true;
    const found = await check();
    if (!found?.valid) {
      left.querySelector("[data-field]:has(> .error:not(:empty)) :is(input, textarea)")?.focus();
      return;
    }
    const result = record ? await saveChanges(found) : await confirmCreate(content(), found);
    if (!result) return;
    dialog.finish(result);
    emit("open", { id: result.id, focus: true });
  };
  const saveChanges = async (found) => {
    const before = JSON.parse(initial), after = read(), changes = {}, rows = [];
    const different = (name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]);
    const note = (name, label, old, fresh) => {
      if (!different(name)) return;
      changes[name] = name === "payload" ? JSON.parse(after.payload) : after[name];
      rows.push([label, old, fresh]);
    };
    note("target", "Target", record.target_text, found.target_text ?? after.target);
    note("start_time", "Start", timeText(record.start_time), timeText(after.start_time));
    note("duration", "Duration", before.duration ?? "without end", after.duration ?? "without end");
    note("recurrence", "Recurs", record.rule || "once", found.rule || "once");
    note("payload", "Payload", payloadText(record.payload), payloadText(JSON.parse(after.payload)));
    note("active", "State", before.active ? "active" : "paused", after.active ? "active" : "paused");
    if (!rows.length) {
      dialog.error.textContent = "Nothing is changed.";
      return null;
    }
    return confirmUpdate(record, changes, `Change ${titleOf(record)}?`, rows,
      { next: changes.recurrence || changes.start_time
        ? found.occurrences.slice(0, 3).map((each) => timeText(each.start)) : undefined });
  };
  check().catch(report);
  (record ? inputs.target : inputs.type).focus();
};

const HOUR = 3_600_000;
const nextHour = () => Math.ceil((now() + 1) / HOUR) * HOUR;

export const create = (values = {}) =>
  openEditor("New dispatch", { start: nextHour(), duration: 3600, ...values });
export const edit = (record) =>
  openEditor(`Edit ${titleOf(record)}`, { ...record, start: Date.parse(record.start_time) }, record);
export const duplicate = (record) => {
  const start = Date.parse(record.start_time);
  const next = record.next_run ? Date.parse(record.next_run) : start;
  openEditor(`Duplicate ${titleOf(record)}`, { ...record, start: Math.max(next, start) > now() ? Math.max(next, start) : nextHour() });
};

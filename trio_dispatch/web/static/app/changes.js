// Changes of dispatches.  Each is confirmed with the old and the new values.

import { get, patch, post, remove } from "./api.js";
import { confirmChange } from "./confirm.js";
import { durationWords, occurrenceText, payloadText, ruleWords, timeText, titleOf } from "./format.js";
import { CannotMove, movedRule, movedStart } from "./moving.js";
import { notify, report } from "./notices.js";
import { now, state } from "./state.js";

const iso = (moment) => new Date(moment).toISOString();
const NEXT = 3;

/** Return the rule in words and the next occurrences that a content would have. */
export const preview = async (dispatch, count = 10) =>
  post("preview", { dispatch, zone: state.zone.name, count });

/** Return the content of a record, as it is sent to the server. */
const contentOf = ({ type, start_time, duration, target, active, dry_run, payload, recurrence }) =>
  ({ type, start_time, duration, target, active, dry_run, payload, recurrence });

const nextTexts = (found) => found.occurrences?.slice(0, NEXT)
  .map((each) => occurrenceText(each).join(" ")) ?? [];

const update = (record, changes) => async () => {
  const { dispatch } = await patch(`dispatches/${record.id}`,
    { expected_update_time: record.update_time, changes });
  return dispatch;
};

/** Confirm and make an update; return the new record, or null. */
export const confirmUpdate = async (record, changes, title, rows, { notes = [], action = "Save", next } = {}) => {
  const running = record.running
    ? ["It runs now: what carries it out restarts or stops with this change."] : [];
  const changed = await confirmChange(title,
    { rows, notes: [...running, ...notes], next, action, change: update(record, changes) });
  if (changed) notify(`${titleOf(record)} was changed.`, "good");
  return changed;
};

export const pause = (record) => confirmUpdate(record, { active: !record.active },
  `${record.active ? "Pause" : "Resume"} ${titleOf(record)}?`,
  [["State", record.active ? "active" : "paused", record.active ? "paused" : "active"]],
  { action: record.active ? "Pause" : "Resume" });

export const deleteDispatch = async (record) => {
  const rows = [["Type", record.type, null], ["Target", record.target_text, null],
    ["Start", timeText(record.start_time), null], ["Duration", durationWords(record.duration), null],
    ["Recurs", ruleWords(record), null], ["Payload", payloadText(record.payload), null]];
  const done = await confirmChange(`Delete ${titleOf(record)}?`, {
    rows, action: "Delete", danger: true,
    notes: record.running ? ["It runs now: its run is stopped."] : [],
    change: async () => {
      await remove(`dispatches/${record.id}`, { expected_update_time: record.update_time });
      return true;
    },
  });
  if (done) notify(`${titleOf(record)} was deleted.`, "good");
  return done;
};

/** Confirm and create; `found` is the preview of the content. */
export const confirmCreate = async (content, found) => {
  const start = content.start_time === "NOW" ? "now" : timeText(content.start_time);
  const rows = [["Type", null, content.type], ["Target", null, found.target_text ?? String(content.target)],
    ["Start", null, start], ["Duration", null, content.duration ?? "without end"],
    ["Recurs", null, found.rule || "once"], ["Payload", null, payloadText(content.payload)],
    ["State", null, `${content.active ? "active" : "paused"}${content.dry_run ? ", dry run" : ""}`]];
  const created = await confirmChange("Create this dispatch?", {
    rows, action: "Create", next: nextTexts(found), notes: found.warning ? [found.warning] : [],
    change: async () => (await post("dispatches", content)).dispatch,
  });
  if (created) notify(`${titleOf(created)} was created.`, "good");
  return created;
};

/** Move an occurrence, and with it the dispatch, to new times.  A null end means no end. */
export const moveOccurrence = async (id, from, start, end) => {
  try {
    const { dispatch: record, occurrences } = await get(`dispatches/${id}`, { zone: state.zone.name });
    const changes = {}, rows = [], notes = [];
    if (start !== from.start) {
      const starts = occurrences.map((each) => Date.parse(each.start));
      const whole = movedStart(record, [from.start, ...starts], from.start, start, now());
      if (record.recurrence) changes.recurrence = movedRule(record.recurrence, from.start, start);
      changes.start_time = iso(whole);
      if (record.recurrence?.end_criteria?.count)
        notes.push("The rule ends after a number of occurrences: they are counted from the new start.");
      rows.push(["This run", timeText(from.start), timeText(start)]);
      rows.push(["Start", timeText(record.start_time), timeText(whole)]);
    }
    if (end !== null && end - start !== from.end - from.start) {
      changes.duration = Math.round((end - start) / 1000);
      rows.push(["Duration", durationWords(record.duration), durationWords(changes.duration)]);
    }
    const found = await preview({ ...contentOf(record), ...changes });
    if (!found.valid) throw new CannotMove(Object.values(found.errors).join(" "));
    if (changes.recurrence && found.rule !== record.rule)
      rows.push(["Recurs", ruleWords(record), found.rule]);
    if (record.recurrence) notes.push("The change is for all occurrences.");
    return await confirmUpdate(record, changes, `Reschedule ${titleOf(record)}?`, rows,
      { notes, action: "Reschedule", next: record.recurrence ? nextTexts(found) : undefined });
  } catch (error) {
    if (error instanceof CannotMove) notify(error.message, "bad"); else report(error);
    return null;
  }
};

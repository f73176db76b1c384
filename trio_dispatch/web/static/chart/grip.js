// The chosen item: a frame around it, which can be dragged if the chart can be changed.

import { make } from "./elements.js";
import { isSingle, placeOf, PULSE } from "./model.js";
import { durationText, momentText } from "./words.js";
import { MINUTE } from "./zone.js";

const SHIFT = { ArrowLeft: -1, ArrowRight: 1 };

export const createGrip = (chart) => {
  const left = make("span", { class: "grip-left" });
  const right = make("span", { class: "grip-right" });
  const hint = make("span", { class: "grip-hint" });
  const frame = make("div", { class: "grip", hidden: true }, left, right, hint);
  chart.stage.append(frame);
  let moved = null; // [start, end] while it is being dragged

  const movable = () => {
    const item = chart.chosen;
    return Boolean(item && chart.options.onMove && chart.options.canMove?.(item) && isSingle(item));
  };
  const place = () => {
    const item = chart.chosen;
    const [top, height] = item ? placeOf(item) : [0, 0];
    const y = top - chart.scroller.scrollTop;
    const [start, end] = moved ?? (item ? [item.start, chart.endOf(item)] : [0, 0]);
    let first = chart.x(start), last = chart.x(end);
    if (item && (item.flags & PULSE || item.kind === "mark")) [first, last] = [first - 8, first + 8];
    frame.hidden = !item || y < -height || y > chart.height || last < 0 || first > chart.width;
    if (frame.hidden) return;
    [first, last] = [Math.max(first, -6), Math.min(Math.max(last, first + 4), chart.width + 6)];
    frame.style.transform = `translate(${first - 2}px, ${y - 2}px)`;
    frame.style.width = `${last - first + 4}px`;
    frame.style.height = `${height + 4}px`;
    frame.classList.toggle("movable", movable());
    frame.classList.toggle("moving", Boolean(moved));
    frame.classList.toggle("low", y > chart.height - 60);
    left.hidden = right.hidden = !movable() || Boolean(item.flags & PULSE);
    right.hidden ||= item.end === null;
    hint.textContent = moved ? `${momentText(chart.zone, start)}`
      + (item.end === null || item.flags & PULSE ? "" : `, ${durationText(end - start)}`) : "";
    hint.hidden = !moved;
  };
  const change = (edge, by) => {
    const item = chart.chosen, step = chart.step();
    const [start, end] = moved ?? [item.start, chart.endOf(item)];
    const least = Math.min(MINUTE, chart.endOf(item) - item.start);
    if (edge === "left") moved = [Math.min(round(start + by, step), end - least), end];
    else if (edge === "right") moved = [start, Math.max(round(end + by, step), start + least)];
    else {
      const next = round(start + by, step);
      moved = [next, end + next - start];
    }
    place();
  };
  const round = (moment, step) => {
    const shift = chart.zone.offset(moment);
    return Math.round((moment + shift) / step) * step - shift;
  };
  const settle = () => {
    const item = chart.chosen, result = moved;
    moved = null;
    place();
    if (item && result && (result[0] !== item.start || result[1] !== chart.endOf(item)))
      chart.options.onMove(item, result[0], item.end === null ? null : result[1]);
  };

  let held = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button || !movable()) return;
    event.stopPropagation();
    frame.setPointerCapture(event.pointerId);
    const edge = event.target === left ? "left" : event.target === right ? "right" : "whole";
    held = { x: event.clientX, edge };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!held) return;
    const scale = (chart.view.end - chart.view.begin) / chart.width;
    if (!moved && Math.abs(event.clientX - held.x) < 4) return;
    moved = null;
    change(held.edge, (event.clientX - held.x) * scale);
  });
  frame.addEventListener("pointerup", () => {
    if (held && !moved) chart.options.onOpen?.(chart.chosen);
    held = null;
    settle();
  });
  frame.addEventListener("pointercancel", () => {
    held = moved = null;
    place();
  });

  /** Handle a key of the chart; return whether it was one to move the chosen bar. */
  const key = (event) => {
    if (moved && event.key === "Enter") settle();
    else if (moved && event.key === "Escape") {
      moved = null;
      place();
    } else if (event.altKey && SHIFT[event.key] && movable()) {
      const edge = event.shiftKey && chart.chosen.end !== null ? "right" : "whole";
      change(edge, SHIFT[event.key] * chart.step());
    } else return false;
    return true;
  };
  chart.gripKey = key;
  return { place };
};

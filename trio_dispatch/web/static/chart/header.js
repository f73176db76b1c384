// Paints the axis above the rows: times, days or months, and the label of the present.

import { fitted } from "./paint.js";
import { dayAndTime } from "./words.js";

export const HEADER = 46;

export const paintHeader = (pen, shown) => {
  const { theme, width, view, axis, now, zone, x } = shown;
  const [ticks, spans] = axis;
  pen.fillStyle = theme.ground;
  pen.fillRect(0, 0, width, HEADER);
  pen.font = `400 11px ${theme.font}`;
  const label = `now ${dayAndTime(zone, now)[1].slice(0, 5)}`;
  const half = pen.measureText(label).width / 2 + 8;
  const showsNow = now >= view.begin && now < view.end;
  const middle = Math.min(Math.max(x(now), half), width - half);
  const taken = showsNow ? [middle - half - 2, middle + half + 2] : [0, 0];
  for (const [moment, text] of ticks) {
    const left = Math.round(x(moment));
    pen.fillStyle = theme.strong;
    pen.fillRect(left, HEADER - 6, 1, 6);
    const end = left + 4 + pen.measureText(text).width;
    if (end > width || (left < taken[1] && end > taken[0])) continue;
    pen.fillStyle = theme.muted;
    pen.fillText(text, left + 4, HEADER - 8);
  }
  for (const [begin, end, names] of spans) {
    const left = Math.max(x(begin), 0);
    if (begin > view.begin) {
      pen.fillStyle = theme.strong;
      pen.fillRect(Math.round(left), 4, 1, HEADER - 4);
    }
    pen.font = `500 12px ${theme.font}`;
    const room = x(end) - left - 8;
    const name = names.find((each) => pen.measureText(each).width <= room);
    pen.fillStyle = theme.ink;
    if (name) pen.fillText(fitted(pen, name, room), left + 4, 17);
  }
  pen.fillStyle = theme.strong;
  pen.fillRect(0, HEADER - 1, width, 1);
  if (!showsNow) return;
  pen.font = `500 11px ${theme.font}`;
  pen.fillStyle = theme.now;
  pen.beginPath();
  pen.roundRect(middle - half, HEADER - 21, 2 * half, 17, 8.5);
  pen.fill();
  pen.fillRect(x(now) - 0.75, HEADER - 5, 1.5, 5);
  pen.fillStyle = theme["now-ink"];
  pen.textAlign = "center";
  pen.fillText(label, middle, HEADER - 8.5);
  pen.textAlign = "start";
};

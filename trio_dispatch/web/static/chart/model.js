// What the chart shows: rows of lanes of items.  An item is a planned bar, an actual run, or a mark.

// The flags of a bar.
export const OVERRIDDEN = 4;
export const MANY = 8;
export const PULSE = 16;
export const CONFLICT = 32;

const ROW_EDGE = 6, ACTUAL = 7, ACTUAL_GAP = 2, MARKS = 10, BEFORE_ACTUAL = 3, LEAST_ROW = 30;

const laneSize = (lanes, tall) => {
  const [height, gap] = lanes <= 4 ? [18, 3] : lanes <= 8 ? [13, 2] : [9, 2];
  return tall ? [Math.round(height * 1.5), gap] : [height, gap];
};

const byStart = (first, second) => first.start - second.start;

const barOf = ([id, start, end, lane, flags, others], row) => ({
  kind: "bar", id, start, end, lane, flags, others, row,
  key: `${row.label}\n${id}\n${start}`,
});
const actualOf = (run, row) => ({
  kind: "actual", id: run.dispatch, start: run.start, end: run.end, lane: run.lane, row, run,
  others: run.others, flags: 0, key: `${row.label}\n${run.dispatch}\n${run.start}\nactual`,
});
const markOf = (mark, row) => ({
  kind: "mark", id: mark.dispatch, start: mark.at, end: mark.at, row, run: mark,
  others: mark.others, flags: 0, key: `${row.label}\n${mark.dispatch}\n${mark.at}\nmark`,
});

const inLanes = (items, lanes) => {
  const found = Array.from({ length: lanes }, () => []);
  for (const item of items) found[Math.min(item.lane, lanes - 1)].push(item);
  for (const lane of found) lane.sort(byStart);
  return found;
};

/** Lay out a plan: `rows` with their places, from top to bottom, and their `height` in all. */
export const layOut = (plan) => {
  const tall = Boolean(plan.height);
  let top = 0;
  const rows = plan.rows.map((source, place) => {
    const [laneHeight, laneGap] = laneSize(source.lanes, tall);
    const { label, component = null } = source;
    const row = { label, component, place, top, laneHeight, laneGap };
    const bars = source.bars.map((each) => barOf(each, row));
    const actual = (source.actual ?? []).map((each) => actualOf(each, row));
    const marks = (source.marks ?? []).map((each) => markOf(each, row)).sort(byStart);
    row.lanes = inLanes(bars, source.lanes);
    row.actual = inLanes(actual, source.actual_lanes ?? 0);
    row.marks = marks;
    row.items = [...bars, ...actual, ...marks].sort(byStart);
    row.lanesTop = top + ROW_EDGE;
    const planned = source.lanes ? source.lanes * (laneHeight + laneGap) - laneGap : 0;
    row.actualTop = row.lanesTop + planned + (planned ? BEFORE_ACTUAL : 0);
    const strips = row.actual.length * (ACTUAL + ACTUAL_GAP);
    row.actualHeight = Math.max(strips, marks.length ? MARKS : 0);
    const inner = planned + (row.actualHeight ? row.actualHeight + (planned ? BEFORE_ACTUAL : 0) : 0);
    row.height = Math.max(LEAST_ROW, inner + 2 * ROW_EDGE);
    row.bottom = top + row.height;
    top += row.height;
    return row;
  });
  return { rows, height: top };
};

/** Return the top and the height of an item. */
export const placeOf = (item) => {
  const { row } = item;
  if (item.kind === "bar")
    return [row.lanesTop + item.lane * (row.laneHeight + row.laneGap), row.laneHeight];
  if (item.kind === "actual") return [row.actualTop + item.lane * (ACTUAL + ACTUAL_GAP), ACTUAL];
  return [row.actualTop, MARKS];
};

/** Return the index of the first item of a lane that may reach beyond a moment. */
export const firstAfter = (items, moment) => {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].start < moment) low = middle + 1; else high = middle;
  }
  // The items of a lane do not overlap, but for the last lane of a crowded row.
  return Math.max(0, low - 2);
};

/** Whether an item is one occurrence of a dispatch, rather than several that were merged. */
export const isSingle = (item) => item.kind === "bar" && !item.others && !(item.flags & MANY);

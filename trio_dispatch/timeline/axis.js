"use strict";
// Times in the zone of the picture, and its axis.
const timesOf = (data) => {
  const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
  const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August",
    "September", "October", "November", "December"];
  const DAY = 86400;

  // A local time is a number of seconds, too: of the moment at which UTC shows the same time.

  const offset = (moment) => {
    let low = 0, high = data.offsets.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (data.offsets[middle][0] <= moment) low = middle; else high = middle - 1;
    }
    return data.offsets[low][1];
  };
  const moment = (local) => {
    const first = local - offset(local - DAY);
    return offset(first) === offset(local - DAY) ? first : local - offset(first);
  };
  const calendar = (local) => new Date(local * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const clock = (local, seconds) => {
    const date = calendar(local);
    const short = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
    return seconds ? `${short}:${two(date.getUTCSeconds())}` : short;
  };
  const dayName = (local) => {
    const date = calendar(local);
    const month = MONTHS[date.getUTCMonth()].slice(0, 3);
    return `${DAYS[date.getUTCDay()]} ${date.getUTCDate()} ${month}`;
  };
  const spoken = (time) => {
    const local = time + offset(time);
    const seconds = Math.floor(local) % 60 !== 0;
    return [`${dayName(local)} ${calendar(local).getUTCFullYear()}`, clock(local, seconds)];
  };
  const spanText = (start, end) => {
    const [day, time] = spoken(start);
    if (end === null) return `${day}, ${time} without end`;
    if (start === end) return `${day}, ${time}`;
    const [lastDay, lastTime] = spoken(end);
    return `${day}, ${time} to ${day === lastDay ? "" : lastDay + ", "}${lastTime}`;
  };

  // The axis: as in the picture, as many round moments as have room.

  const startOf = { // of the day, month or year of a local time, or of one some units later
    day: (local, more) => {
      const date = calendar(local);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + more) / 1000;
    },
    month: (local, more) => {
      const date = calendar(local);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + more, 1) / 1000;
    },
    year: (local, more) => Date.UTC(calendar(local).getUTCFullYear() + more, 0, 1) / 1000,
  };
  const number = { // decides whether a unit is a round one; day 0 was a Thursday
    day: (local) => Math.round(local / DAY) + 3,
    month: (local) => calendar(local).getUTCMonth(),
    year: (local) => calendar(local).getUTCFullYear(),
  };
  const boundaries = (view, unit, step) => {
    const found = [];
    let local = startOf[unit](view.begin + offset(view.begin), 0);
    for (; ; local = startOf[unit](local, 1)) {
      const time = moment(local);
      if (time >= view.end) return found;
      if (time >= view.begin && number[unit](local) % step === 0) found.push([time, local]);
    }
  };
  const clockTicks = (view, step) => {
    const found = [];
    const regimes = data.offsets;
    for (let place = 0; place < regimes.length; place++) {
      const from = place ? Math.max(view.begin, regimes[place][0]) : view.begin;
      const to = place + 1 < regimes.length ? Math.min(view.end, regimes[place + 1][0]) : view.end;
      const shift = regimes[place][1];
      for (let local = Math.ceil((from + shift) / step) * step; local - shift < to; local += step)
        found.push([local - shift, clock(local, step < 60)]);
    }
    return found;
  };
  const spans = (view, unit, names) => {
    const starts = boundaries(view, unit, 1);
    if (!starts.length || starts[0][0] > view.begin)
      starts.unshift([view.begin, view.begin + offset(view.begin)]);
    return starts.map(([time, local], place) =>
      [time, place + 1 < starts.length ? starts[place + 1][0] : view.end, names(local, !place)]);
  };
  const monthName = (local) => MONTHS[calendar(local).getUTCMonth()];
  const yearName = (local) => String(calendar(local).getUTCFullYear());
  const axis = (view, size) => {
    const perSecond = size / (view.end - view.begin);
    for (const step of [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800,
      21600, 43200])
      if (step * perSecond >= (step < 60 ? 62 : 46))
        return [clockTicks(view, step), spans(view, "day", (local, first) => {
          const name = dayName(local);
          const short = name.slice(4);
          return [...(first ? [`${name} ${yearName(local)}`] : []), name, short];
        })];
    for (const step of [1, 2, 7, 14])
      if (step * DAY * perSecond >= 28) {
        const long = step * DAY * perSecond >= 56;
        const name = (local) => long ? dayName(local).slice(0, -4)
          : String(calendar(local).getUTCDate());
        return [boundaries(view, "day", step).map(([time, local]) => [time, name(local)]),
          spans(view, "month", (local, first) => {
            const month = monthName(local);
            const year = first || month === "January" ? [`${month} ${yearName(local)}`] : [];
            return [...year, month, month.slice(0, 3)];
          })];
      }
    for (const step of [1, 2, 3, 6])
      if (step * 28 * DAY * perSecond >= 36)
        return [boundaries(view, "month", step).map(([t, local]) => [t, monthName(local).slice(0, 3)]),
          spans(view, "year", (local) => [yearName(local)])];
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find(
      (years) => years * 365 * DAY * perSecond >= 46) || 2000;
    return [boundaries(view, "year", step).map(([time, local]) => [time, yearName(local)]), []];
  };

  return { axis, spanText, spoken };
};

// Time zones.  Times are milliseconds since 1970.  A local time is a number, too: the moment at
// which UTC shows the same digits.

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** Return a zone whose offsets are listed: [[moment, offset], ...], the earliest first. */
export const zoneOf = (name, table) => {
  const place = (moment) => {
    let low = 0, high = table.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (table[middle][0] <= moment) low = middle; else high = middle - 1;
    }
    return low;
  };
  return {
    name,
    offset: (moment) => table[place(moment)][1],
    /** The offsets in use between two moments, each with the moment from which on it counts. */
    offsets: (begin, end) => table.slice(place(begin), place(end) + 1),
  };
};

/** Return a zone that the browser knows by its name. */
export const zoneByName = (name) => {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
    hour: "numeric", minute: "numeric", second: "numeric",
  });
  const exact = (moment) => {
    const whole = Math.floor(moment / SECOND) * SECOND;
    const part = Object.fromEntries(format.formatToParts(whole).map((each) => [each.type, +each.value]));
    const local = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
    return local - whole;
  };
  const firstOf = (before, after) => {
    const offset = exact(after);
    while (after - before > SECOND) {
      const middle = Math.floor((before + after) / 2 / SECOND) * SECOND;
      if (middle <= before) break;
      if (exact(middle) === offset) after = middle; else before = middle;
    }
    return after;
  };
  const table = (begin, end) => {
    const found = [[begin, exact(begin)]];
    for (let moment = begin; moment < end; moment += 4 * DAY) {
      const offset = exact(moment + 4 * DAY);
      if (offset !== found.at(-1)[1]) found.push([firstOf(moment, moment + 4 * DAY), offset]);
    }
    return found;
  };
  let low = 0, high = 0, zone = null;
  const covering = (begin, end) => {
    if (!zone || begin < low || end > high) {
      low = Math.min(begin, low || begin) - 366 * DAY;
      high = Math.max(end, high || end) + 366 * DAY;
      if (high - low > 40 * 366 * DAY) [low, high] = [begin - 366 * DAY, end + 366 * DAY];
      zone = zoneOf(name, table(low, high));
    }
    return zone;
  };
  return {
    name,
    offset: (moment) => covering(moment, moment).offset(moment),
    offsets: (begin, end) => covering(begin, end).offsets(begin, end),
  };
};

/** Return the moment of a local time; the later one of two does not count. */
export const momentOf = (zone, local) => {
  const before = zone.offset(local - DAY);
  const first = local - before;
  return zone.offset(first) === before ? first : local - zone.offset(first);
};

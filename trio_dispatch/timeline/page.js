// Draws the data of the page: the runs that match the search, in the visible time.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const DRY = 1, MANY = 2, PULSE = 4, OVERRIDDEN = 8;
  const EDGE = 16, TOP = 58, LEAST_SPAN = 60;
  const FONT = "Roboto, 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', sans-serif";

  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("data").textContent);
  const { axis, spanText, spoken } = timesOf(data);
  const chart = element("chart"), drawing = element("drawing"), tip = element("tip");
  const view = { begin: data.begin, end: data.end, words: "" };
  let layout = null, drawn = [], chosen = null;

  const pen = document.createElement("canvas").getContext("2d");
  const widths = new Map();
  const width = (text, font) => {
    const key = font + text;
    if (!widths.has(key)) {
      pen.font = `${font} ${FONT}`;
      widths.set(key, pen.measureText(text).width);
    }
    return widths.get(key);
  };
  const shorten = (text, room, font) => {
    if (width(text, font) <= room) return text;
    const letters = [...text];
    while (letters.length && width(letters.join("") + "…", font) > room) letters.pop();
    return letters.length ? letters.join("") + "…" : "";
  };
  const add = (parent, name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };

  // Drawing.

  const x = (time) => layout.left
    + (time - view.begin) / (view.end - view.begin) * (layout.right - layout.left);
  const inside = (time) => Math.min(Math.max(x(time), layout.left), layout.right);
  const laneSizes = (row) => row.lanes <= 4 ? [18, 3] : row.lanes <= 8 ? [13, 2] : [9, 2];
  const rowHeight = (row) => row.lanes * laneSizes(row)[0] + (row.lanes - 1) * laneSizes(row)[1] + 12;
  const matches = (dispatch) => {
    const text = dispatch.lines.map((line) => line[1]).join("\n").toLowerCase();
    return view.words.split(/\s+/).every((word) => text.includes(word));
  };
  const shownRows = () => {
    if (!view.words) return data.rows;
    const hits = data.dispatches.map(matches);
    return data.rows.map((row) => ({ ...row, bars: row.bars.filter((bar) => hits[bar[3]]) }))
      .filter((row) => row.bars.length);
  };

  const draw = () => {
    const rows = shownRows();
    const total = Math.max(chart.parentElement.clientWidth, 480);
    const labels = Math.min(220, total * 0.3,
      Math.max(60, ...data.rows.map((row) => width(row.label, "500 12.5px")))) + 12;
    layout = { left: EDGE + labels, right: total - EDGE };
    const bottom = TOP + (rows.reduce((sum, row) => sum + rowHeight(row), 0) || 44);
    const height = bottom + 14;
    chart.setAttribute("viewBox", `0 0 ${total} ${height}`);
    chart.setAttribute("height", height);
    drawing.replaceChildren();
    drawn = [];
    drawGround(rows, total, bottom);
    let top = TOP;
    for (const row of rows) {
      drawRow(row, top, labels - 12);
      top += rowHeight(row);
    }
    if (!rows.length) {
      const text = view.words ? "Nothing contains this." : "Nothing runs in this time.";
      add(drawing, "text", { class: "muted", x: layout.left, y: TOP + 24 }, text);
    }
    drawNow(bottom);
    mark();
  };
  const drawGround = (rows, total, bottom) => {
    let top = TOP;
    rows.forEach((row, place) => {
      const height = rowHeight(row);
      if (place % 2 === 0)
        add(drawing, "path", { class: "band", d: `M0 ${top}h${total}v${height}h${-total}z` });
      top += height;
    });
    const [ticks, days] = axis(view, layout.right - layout.left);
    add(drawing, "text", { class: "muted", x: EDGE, y: 46 }, data.zone);
    const taken = nowRoom();
    for (const [time, label] of ticks) {
      const place = x(time), end = place + 4 + width(label, "400 11px");
      add(drawing, "path", { class: "line", d: `M${place} ${TOP - 6}V${bottom}` });
      if (end <= layout.right + 8 && !(place < taken[1] && end > taken[0]))
        add(drawing, "text", { class: "muted", x: place + 4, y: 46 }, label);
    }
    for (const [begin, end, names] of days) {
      const first = x(begin);
      if (begin > view.begin)
        add(drawing, "path", { class: "strong", d: `M${first} 15V${bottom}` });
      const name = names.find((each) => width(each, "500 12px") + 8 < x(end) - first);
      if (name) add(drawing, "text", { class: "ink span", x: first + 4, y: 25 }, name);
    }
  };
  const nowLabel = () => `now ${spoken(data.now)[1].slice(0, 5)}`;
  const nowRoom = () => {
    if (data.now < view.begin || data.now >= view.end) return [0, 0];
    const half = width(nowLabel(), "400 11px") / 2 + 8;
    const middle = Math.min(Math.max(x(data.now), layout.left + half - 8), layout.right - half);
    return [middle - half, middle + half];
  };
  const drawNow = (bottom) => {
    const [first, last] = nowRoom();
    if (first >= last) return;
    const line = `M${x(data.now)} ${TOP - 9}V${bottom}`;
    add(drawing, "path", { class: "now", "stroke-width": 1.5, d: line, "pointer-events": "none" });
    const box = { class: "now", x: first, y: 33, width: last - first, height: 18, rx: 9 };
    add(drawing, "rect", box);
    const place = { class: "nowtext", x: (first + last) / 2, y: 46, "text-anchor": "middle" };
    add(drawing, "text", place, nowLabel());
  };
  const drawRow = (row, top, room) => {
    const shown = shorten(row.label, room, "500 12.5px");
    const middle = top + rowHeight(row) / 2 + 4.5;
    const label = add(drawing, "text", { class: "ink label", x: EDGE, y: middle }, shown);
    if (shown !== row.label) add(label, "title", {}, row.label);
    const [height, gap] = laneSizes(row);
    const full = [];
    for (const bar of row.bars) {
      const [lane, start, end, , kind] = bar;
      const pulse = kind & PULSE && !(kind & MANY) && !bar[5];
      if (start >= view.end || (end !== null && (pulse ? end < view.begin : end <= view.begin)))
        continue;
      // A bar that would be hidden by the last one only costs time.
      const last = end === null ? layout.right : inside(end);
      if (last < (full[lane] ?? -1) + (pulse ? 2 : 0.5)) continue;
      full[lane] = Math.max(last, inside(start) + 1);
      drawBar(bar, row, top + 6 + lane * (height + gap), height, pulse);
    }
  };
  const drawBar = (bar, row, y, height, pulse) => {
    const [, start, end, place, kind, others] = bar;
    const dispatch = data.dispatches[place];
    const group = add(drawing, "g", { class: kind & OVERRIDDEN ? "bar pale" : "bar" });
    drawn.push({ bar, row, group, y, height });
    const style = others ? ["class", "crowd"]
      : kind & DRY ? ["fill", `url(#p-dry${dispatch.colour})`]
      : kind & MANY ? ["fill", `url(#p-many${dispatch.colour})`]
      : end === null ? ["fill", `url(#p-endless${dispatch.colour})`]
      : ["class", `c${dispatch.colour}`];
    const shape = { [style[0]]: style[1] };
    if (kind & DRY && !others) shape.class = `s${dispatch.colour}`;
    if (pulse) {
      const half = Math.min(height / 2, 6.5);
      add(group, "path",
        { ...shape, d: `M${x(start)} ${y + height / 2 - half}l${half} ${half}l${-half} ${half}l${-half} ${-half}z` });
      return;
    }
    const first = inside(start);
    const last = Math.max(end === null ? layout.right : inside(end), first + 2);
    const thin = kind & PULSE && !others ? 0.3 * height : 0;
    add(group, "path", { ...shape,
      d: outline(first, last, y + thin, height - 2 * thin, start < view.begin, end) });
    const text = others ? `${others + 1} in one` : dispatch.name;
    const shown = height < 15 ? "" : shorten(text, last - first - 12 - (end === null ? 8 : 0), "400 10.5px");
    if (shown && (shown === text || shown.length >= 6)) {
      const ink = others ? "nowtext" : kind & (DRY | MANY | OVERRIDDEN) ? "over" : `t${dispatch.colour}`;
      add(group, "text", { class: ink, x: first + 6, y: y + height / 2 + 3.8 }, shown);
    }
  };
  const outline = (first, last, y, height, cutLeft, end) => {
    const corner = Math.min(3, (last - first) / 3, height / 2);
    const left = cutLeft ? 0 : corner;
    const right = end === null || end > view.end ? 0 : corner;
    const tip = end === null ? Math.min(8, (last - first) / 2) : 0;
    const bottom = y + height;
    const side = tip ? `L${last} ${y + height / 2}L${last - tip} ${bottom}`
      : `q${right} 0 ${right} ${right}V${bottom - right}q0 ${right} ${-right} ${right}`;
    return `M${first + left} ${y}H${last - right - tip}${side}H${first + left}`
      + `q${-left} 0 ${-left} ${-left}V${y + left}q0 ${-left} ${left} ${-left}z`;
  };

  const drawLegend = () => {
    const bars = data.rows.flatMap((row) => row.bars);
    const entry = (attributes, text) => {
      const item = document.createElement("span");
      add(add(item, "svg", { class: "chart", width: 20, height: 12 }), "path", attributes);
      item.append(text);
      element("legend").append(item);
    };
    const box = "M0.5 1h19v10h-19z";
    for (const [colour, name] of data.colours)
      entry({ class: `c${colour}`, d: box }, name);
    if (bars.some((bar) => bar[4] & DRY && !bar[5]))
      entry({ fill: "url(#p-dry-1)", class: "s-1", d: box }, "dry run");
    if (bars.some((bar) => bar[4] & MANY && !bar[5]))
      entry({ fill: "url(#p-many-1)", d: box }, "many short runs");
    if (bars.some((bar) => bar[2] === null))
      entry({ fill: "url(#p-endless-1)", d: "M0 1h14l6 5-6 5H0z" }, "without end");
    if (bars.some((bar) => bar[4] & PULSE && !(bar[4] & MANY) && !bar[5]))
      entry({ class: "c-1", d: "M10 0l6 6-6 6-6-6z" }, "pulse");
    if (bars.some((bar) => bar[4] & OVERRIDDEN))
      entry({ class: "c-1", opacity: 0.3, d: box }, "overridden");
    if (bars.some((bar) => bar[5]))
      entry({ class: "crowd", d: box }, "too many to tell apart");
    const remarks = [];
    if (data.left_out) remarks.push(`${data.left_out} more rows are not in the picture.`);
    if (data.idle.length) remarks.push(`Not in this time: ${data.idle.join(", ")}`);
    element("remarks").textContent = remarks.join("  ");
    element("remarks").hidden = !remarks.length;
  };

  // The tooltip of a run.

  const linesOf = ([, start, end, place, kind, others]) => {
    const time = spanText(start, end);
    if (others) return [["", `${others + 1} that cannot be told apart`], ["time", time]];
    const [head, ...rest] = data.dispatches[place].lines;
    const many = `, many ${kind & PULSE ? "pulses" : "runs"} one after the other`;
    const how = (kind & MANY ? many : "") + (kind & OVERRIDDEN ? ", overridden" : "");
    return [head, ["time", time + how], ...rest];
  };
  const show = (item, left, top) => {
    const lines = linesOf(item.bar);
    tip.replaceChildren();
    const head = document.createElement("strong");
    const swatch = add(head, "svg", { class: "chart", width: 10, height: 10, style: "width:10px" });
    const colour = item.bar[5] ? "crowd" : `c${data.dispatches[item.bar[3]].colour}`;
    add(swatch, "rect", { class: colour, width: 10, height: 10, rx: 3 });
    head.append(lines[0][1]);
    const list = document.createElement("dl");
    for (const [name, text] of lines.slice(1)) {
      list.append(Object.assign(document.createElement("dt"), { textContent: name }));
      list.append(Object.assign(document.createElement("dd"), { textContent: text }));
    }
    tip.append(head, list);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const below = top + 18 + box.height < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(left + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(8, below ? top + 18 : top - box.height - 14)}px`;
  };
  const hide = () => { tip.hidden = true; };
  const find = (target) => drawn.find((item) => item.group === target.closest?.(".bar"));
  const mark = () => {
    for (const item of drawn) item.group.classList.toggle("chosen", item.bar === chosen);
  };
  const choose = (item) => {
    if (!item) return;
    chosen = item.bar;
    mark();
    const box = item.group.getBoundingClientRect();
    show(item, Math.max(box.left, 0), box.bottom - 10);
    element("said").textContent = linesOf(item.bar).map((line) => line.join(" ")).join(", ");
  };
  const step = (along, rows) => {
    const at = drawn.findIndex((item) => item.bar === chosen);
    if (at < 0) return choose(drawn[0]);
    const item = drawn[at];
    if (along) {
      const mates = drawn.filter((each) => each.row.label === item.row.label);
      return choose(mates[mates.indexOf(item) + along]);
    }
    const names = [...new Set(drawn.map((each) => each.row.label))];
    const name = names[names.indexOf(item.row.label) + rows];
    const mates = drawn.filter((each) => each.row.label === name);
    const distance = (each) => Math.abs(each.bar[1] - item.bar[1]);
    return choose(mates.sort((a, b) => distance(a) - distance(b))[0]);
  };

  // Moving in time.

  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  const look = (begin, span) => {
    span = Math.min(Math.max(span, Math.min(LEAST_SPAN, data.end - data.begin)), data.end - data.begin);
    view.begin = Math.min(Math.max(begin, data.begin), data.end - span);
    view.end = view.begin + span;
    hide();
    redraw();
  };
  const zoom = (factor, share = 0.5) => {
    const span = view.end - view.begin;
    look(view.begin + span * share * (1 - factor), span * factor);
  };
  const pan = (share) => {
    const span = view.end - view.begin;
    look(view.begin + span * share, span);
  };
  const shareAt = (event) => {
    const place = event.clientX - chart.getBoundingClientRect().left;
    return Math.min(Math.max((place - layout.left) / (layout.right - layout.left), 0), 1);
  };
  const whole = () => look(data.begin, data.end - data.begin);

  chart.addEventListener("wheel", (event) => {
    if (event.clientX - chart.getBoundingClientRect().left < layout.left) return;
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      pan((event.deltaX || event.deltaY) / 1000);
    else zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 400), shareAt(event));
  }, { passive: false });
  let held = null;
  chart.addEventListener("pointerdown", (event) => {
    if (event.button === 0) held = { at: event.clientX, begin: view.begin, moved: false };
  });
  chart.addEventListener("pointermove", (event) => {
    if (held) {
      const distance = event.clientX - held.at;
      if (!held.moved && Math.abs(distance) < 4) return;
      if (!held.moved) chart.setPointerCapture(event.pointerId);
      held.moved = true;
      chart.classList.add("moving");
      const span = view.end - view.begin;
      look(held.begin - distance / (layout.right - layout.left) * span, span);
      return;
    }
    const item = find(event.target);
    if (item) show(item, event.clientX, event.clientY); else hide();
  });
  const release = () => { held = null; chart.classList.remove("moving"); };
  chart.addEventListener("pointerup", release);
  chart.addEventListener("pointercancel", release);
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("click", (event) => choose(find(event.target)));
  chart.addEventListener("blur", () => { chosen = null; mark(); hide(); });
  chart.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => event.shiftKey ? pan(-0.1) : step(-1, 0),
      ArrowRight: () => event.shiftKey ? pan(0.1) : step(1, 0),
      ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
      "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), "0": whole,
      Home: whole, Escape: () => { chosen = null; mark(); hide(); },
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  element("in").addEventListener("click", () => zoom(0.6));
  element("out").addEventListener("click", () => zoom(1 / 0.6));
  element("whole").addEventListener("click", whole);
  element("search").addEventListener("input", (event) => {
    view.words = event.target.value.trim().toLowerCase();
    redraw();
  });

  for (const hidden of document.querySelectorAll(".controls, #keys, #chart"))
    hidden.removeAttribute("hidden");
  element("picture").remove();
  drawLegend();
  draw();
  new ResizeObserver(redraw).observe(chart.parentElement);
})();

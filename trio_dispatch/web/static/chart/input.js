// Pointer, touch, wheel and keyboard.

const FAR = 4;

export const attachInput = (chart, tip) => {
  const { stage, scroller, options } = chart;
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top + scroller.scrollTop];
  };
  const shareAt = (event) => {
    const box = stage.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / chart.width, 0), 1);
  };

  // Wheel: with Ctrl it zooms, sideways or with Shift it moves in time, else it scrolls.
  const wheel = (event) => {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (sideways) chart.pan((event.deltaX || event.deltaY) / 1000);
    else if (event.ctrlKey || event.metaKey || event.currentTarget !== scroller)
      chart.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 300), shareAt(event));
    else return;
    event.preventDefault();
  };
  scroller.addEventListener("wheel", wheel, { passive: false });
  chart.host.querySelector(".chart-head").addEventListener("wheel", wheel, { passive: false });

  // One pointer moves, two zoom.
  const pointers = new Map();
  let held = null, pinch = null;
  const distance = () => {
    const [first, second] = [...pointers.values()];
    return Math.abs(first.clientX - second.clientX) || 1;
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) pinch = distance();
    held = { x: event.clientX, view: chart.view, moved: false };
  });
  stage.addEventListener("pointermove", (event) => {
    if (pinch && pointers.has(event.pointerId)) {
      pointers.set(event.pointerId, event);
      const now = distance();
      chart.zoom(pinch / now, shareAt(event));
      pinch = now;
      held.moved = true;
    } else if (held) drag(event);
    else if (event.pointerType === "mouse") hover(event);
  });
  const drag = (event) => {
    const far = event.clientX - held.x;
    if (!held.moved && Math.abs(far) < FAR) return;
    if (!held.moved) {
      stage.setPointerCapture(event.pointerId);
      stage.classList.add("moving");
    }
    held.moved = true;
    const span = held.view.end - held.view.begin;
    chart.look(held.view.begin - far / chart.width * span, span);
  };
  const hover = (event) => {
    const item = chart.itemAt(...place(event));
    stage.classList.toggle("over", Boolean(item));
    if (item) tip.show(item, event.clientX, event.clientY); else tip.hide();
  };
  const release = (event) => {
    pointers.delete(event.pointerId);
    if (pointers.size < 2) pinch = null;
    stage.classList.remove("moving");
    const click = held && !held.moved && event.type === "pointerup";
    held = null;
    if (!click) return;
    const item = chart.itemAt(...place(event));
    chart.choose(item);
    if (item) options.onOpen?.(item);
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("pointerleave", () => tip.hide());
  stage.addEventListener("dblclick", (event) => {
    const [x, y] = place(event);
    const row = chart.rowAt(y);
    if (row && !chart.itemAt(x, y)) options.onAdd?.(row, chart.momentAt(x));
  });

  // Keyboard: arrows go from item to item.
  const step = (along, rows) => {
    const { begin, end } = chart.view, { chosen } = chart;
    if (!chosen) {
      const visible = (item) => item.start < end && chart.endOf(item) >= begin;
      choose(chart.rows.flatMap((row) => row.items.find(visible) ?? [])[0]);
    } else if (along) {
      const { items } = chosen.row;
      choose(items[items.indexOf(chosen) + along]);
    } else {
      let at = chosen.row.place + rows;
      while (chart.rows[at] && !chart.rows[at].items.length) at += rows;
      const far = (item) => Math.abs(item.start - chosen.start);
      choose(chart.rows[at]?.items.reduce((best, item) => far(item) < far(best) ? item : best));
    }
  };
  const choose = (item) => {
    if (!item) return;
    chart.reveal(item);
    chart.choose(item);
  };
  const keys = {
    ArrowLeft: (event) => event.shiftKey ? chart.pan(-0.1) : step(-1, 0),
    ArrowRight: (event) => event.shiftKey ? chart.pan(0.1) : step(1, 0),
    ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1),
    "+": () => chart.zoom(0.8),
    "=": () => chart.zoom(0.8),
    "-": () => chart.zoom(1.25),
    Enter: () => chart.chosen && options.onOpen?.(chart.chosen, true),
    Escape: () => chart.choose(null),
    ...options.keys,
  };
  scroller.addEventListener("keydown", (event) => {
    if (chart.gripKey(event)) {
      event.preventDefault();
      return;
    }
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act(event);
  });
};

// The tooltip of an item.

import { definitions, make } from "./elements.js";

export const createTip = (chart) => {
  const box = make("div", { class: "chart-tip", role: "tooltip", hidden: true });
  chart.host.append(box);
  let shown = null;
  return {
    show: (item, x, y) => {
      if (shown !== item) {
        const [[, head], ...rest] = chart.options.describe(item);
        box.replaceChildren(make("strong", {}, head), definitions(rest));
        shown = item;
      }
      box.hidden = false;
      const { width, height } = box.getBoundingClientRect();
      const top = y + 18 + height < innerHeight ? y + 18 : y - height - 12;
      box.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
      box.style.top = `${Math.max(8, top)}px`;
    },
    hide: () => {
      shown = null;
      box.hidden = true;
    },
  };
};

// The colours of the canvas, from the style sheet.

import { PALETTE } from "./palette.js";

const NAMES = ["ground", "ink", "muted", "grid", "strong", "band", "crowd", "now", "now-ink", "bad",
  "good", "conflict"];

/** Return the colours that count for an element now. */
export const readTheme = (element) => {
  const probe = document.createElement("span");
  probe.hidden = true;
  element.append(probe);
  const theme = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    theme[name] = getComputedStyle(probe).color;
  }
  probe.style.color = "light-dark(rgb(255, 255, 255), rgb(0, 0, 0))";
  const dark = getComputedStyle(probe).color === "rgb(0, 0, 0)";
  probe.remove();
  theme.font = getComputedStyle(element).fontFamily;
  theme.fill = PALETTE.map((colour) => colour[dark ? 2 : 0]);
  theme.on = PALETTE.map((colour) => colour[dark ? 3 : 1]);
  theme.patterns = new Map();
  return theme;
};

const drawings = {
  dry: (pen, colour) => {
    pen.globalAlpha = 0.2;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 8, 8);
    pen.globalAlpha = 0.6;
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.beginPath();
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift - 1, 9);
      pen.lineTo(shift + 9, -1);
    }
    pen.stroke();
  },
  many: (pen, colour) => {
    pen.globalAlpha = 0.3;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 8, 8);
    pen.globalAlpha = 0.8;
    for (const x of [0, 4]) pen.fillRect(x, 0, 2, 8);
  },
};

/** Return the pattern of a kind, "dry" or "many", in a colour. */
export const patternOf = (theme, target, kind, colour) => {
  const key = kind + colour;
  let pattern = theme.patterns.get(key);
  if (!pattern) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 16;
    const pen = tile.getContext("2d");
    pen.scale(2, 2);
    drawings[kind](pen, colour);
    pattern = target.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(0.5));
    theme.patterns.set(key, pattern);
  }
  return pattern;
};

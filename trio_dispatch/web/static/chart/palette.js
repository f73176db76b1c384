// The colours of the types: those of the pictures, which suit colour-blind people, too.

/** Colour on light ground, text on it, colour on dark ground, text on it. */
export const PALETTE = [
  ["#0072b2", "#ffffff", "#4ea6dc", "#06121a"],
  ["#e69f00", "#241a00", "#f0b429", "#1d1500"],
  ["#009e73", "#00140e", "#2bbf94", "#00140e"],
  ["#cc79a7", "#220a18", "#dc93bb", "#220a18"],
  ["#56b4e9", "#04161f", "#8accf2", "#04161f"],
  ["#d55e00", "#1f0d00", "#ec7f2e", "#1f0d00"],
  ["#5a4fa8", "#ffffff", "#9d94e6", "#0d0a20"],
  ["#999933", "#141400", "#bfbf5c", "#141400"],
  ["#8a2b5e", "#ffffff", "#cf6b9f", "#1c0512"],
  ["#8a5a2c", "#ffffff", "#cd9a66", "#1a0f04"],
];

const crc32 = (text) => {
  let crc = ~0;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
};

/**
 * Return a number in the palette for each type.  The name decides, so that a type always has the
 * same colour; if two would have the same, the later one in the alphabet gets a free one.
 */
export const coloursOf = (types) => {
  const names = [...new Set(types)].sort();
  const found = new Map(), taken = new Set();
  for (const name of names) {
    const number = crc32(name) % PALETTE.length;
    if (taken.has(number)) continue;
    found.set(name, number);
    taken.add(number);
  }
  for (const name of names) {
    if (found.has(name)) continue;
    let number = crc32(name) % PALETTE.length;
    while (taken.has(number) && taken.size < PALETTE.length) number = (number + 1) % PALETTE.length;
    found.set(name, number);
    taken.add(number);
  }
  return found;
};

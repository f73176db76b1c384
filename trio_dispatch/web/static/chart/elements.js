// Makes elements.  Every text is a text node: nothing is parsed as HTML.

/**
 * Return an element with attributes and children.  A property that starts with "on" is a listener;
 * true sets an attribute without a value; null, undefined and false set none.
 */
export const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
};

/** Return a list of names and values. */
export const definitions = (pairs, attributes = {}) => make("dl", attributes,
  ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

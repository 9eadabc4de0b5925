// Elements made of text and attributes: nothing is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; a child that is null or false is left out.
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same for a part of a drawing.
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...present(children));
  return element;
}

const present = (children) => children.flat(Infinity).filter((child) => child !== null && child !== false && child !== "");

// Puts children in the place of what an element has.
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

// Keeps a list of keyed items in their order; an item that is there already stays as it is, open or focused.
export function keep(list, items, keyOf, make) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const child = known.get(key) ?? make(item);
    child.dataset.key = key;
    known.delete(key);
    return child;
  });
  for (const gone of known.values()) gone.remove();
  wanted.forEach((child, index) => {
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
  });
}

export const byId = (id) => document.getElementById(id);

// A chip: a short word with a meaning, `good`, `bad`, `warn` or none.
export const chip = (text, meaning = "") => h("span", { class: `chip ${meaning}` }, text);

// Terms and what they are; pairs without a value are left out.
export function terms(pairs) {
  return h(
    "dl",
    {},
    pairs
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]),
  );
}

// A count with its word: 1 request, 2 requests.
export const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

// A span of time in words: 850 ms, 12 s, 3 min, 2 h.
export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

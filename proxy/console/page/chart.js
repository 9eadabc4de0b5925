// A line over time. The drawing is for the eyes; `figure` and the label hold the same in words.

import { fill, h, svg } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 100;

// Draws `points`, pairs of a time in seconds and a value or null, as they are from `from` to `to`.
export function chart(element, { name, points, from, to, floor, words }) {
  const known = points.filter(([at, value]) => value !== null && at >= from);
  const highest = known.reduce((most, [, value]) => Math.max(most, value), 0);
  const last = known.at(-1)?.[1];
  const top = ceiling(Math.max(highest, floor));
  const x = (at) => ((at - from) / (to - from)) * WIDTH;
  const y = (value) => HEIGHT - (value / top) * (HEIGHT - 4) - 2;
  const line = known.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const summary = known.length ? `now ${words(last)}, highest ${words(highest)}` : "no values yet";
  fill(
    element,
    h("div", { class: "ends" }, h("span", {}, words(top)), h("span", {}, known.length ? `highest ${words(highest)}` : "")),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${summary}` },
      [0, 0.5, 1].map((part) => svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: y(top * part), y2: y(top * part) })),
      known.length > 1 && svg("path", { class: "area", d: `${line}L${x(known.at(-1)[0]).toFixed(1)} ${HEIGHT}L${x(known[0][0]).toFixed(1)} ${HEIGHT}Z` }),
      known.length > 1 && svg("path", { class: "line", d: line }),
    ),
    h("div", { class: "ends" }, h("span", {}, `${Math.round((to - from) / 60)} min ago`), h("span", {}, "now")),
  );
  return last;
}

// The least of 1, 2, 5, 10, 20, … that is not below a value.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? 10 * power;
}

// What passes: each request of the page, and beside it the one that went to Electric for it, if one did.

import { byId, chip, clock, h, terms } from "./dom.js";

const KEPT = 30;
const SETTLED = 1500;
const TOLERANCE = 0.3;

const upstream = new Map(); // requests to Electric by their number, as the demo's relay saw them
const exchanges = [];

const flags = ({ parameters }) => [parameters.live === "true", parameters.live_sse === "true", parameters.offset];

function fits(sent, exchange) {
  const session = exchange.claims?.session_id;
  return (
    sent.parameters.table?.replaceAll('"', "").split(".").at(-1) === exchange.parameters.table &&
    flags(sent).join() === flags(exchange).join() &&
    Object.entries(sent.parameters).some(([name, value]) => name.startsWith("params[") && value === session)
  );
}

// A request to Electric began, or its answer has begun or ended.
export function sent(one) {
  upstream.set(one.number, one);
  if (upstream.size > 500) upstream.delete(upstream.keys().next().value);
  for (const entry of exchanges) if (!entry.sent && entry.exchange.status !== 401) settle(entry);
}

function settle(entry) {
  const { exchange } = entry;
  const since = exchange.at - TOLERANCE;
  entry.sent = [...upstream.values()].findLast((one) => fits(one, exchange) && (one.at >= since || (one.seconds === null && one.parameters.live)));
  draw(entry);
}

// A request of somebody. Gives what is to be called with its answer; `opened` shows it unfolded.
export function passed(who, exchange, opened = false) {
  const entry = { who, exchange, element: h("details", { open: opened, class: `arrives ${who.tone}` }) };
  exchanges.unshift(entry);
  byId("passes").prepend(entry.element);
  for (const gone of exchanges.splice(KEPT)) gone.element.remove();
  draw(entry);
  return () => {
    settle(entry);
    setTimeout(() => {
      entry.settled = true;
      draw(entry);
    }, SETTLED);
  };
}

function draw({ who, exchange, element, sent: one, settled }) {
  const { parameters, claims, status } = exchange;
  const { table, ...asked } = parameters;
  element.replaceChildren(
    h(
      "summary",
      {},
      h("span", { class: "mono muted" }, clock(exchange.at)),
      h("span", { class: "chip tone" }, who.label),
      h("code", {}, table),
      h("span", { class: "muted small" }, short(asked)),
      h("span", { class: "end" }, status ? outcome(exchange) : chip("…")),
    ),
    h(
      "div",
      { class: "inside sides" },
      side("The token says", claims ? terms(Object.entries(claims).map(([name, value]) => [name, code(shown(name, value))])) : "There is none."),
      side("Asked", terms(Object.entries(parameters).map(([name, value]) => [name, code(value)]))),
      side("Sent to Electric", toElectric(exchange, one, settled)),
      side("Answered", status ? answered(exchange) : "Not yet."),
    ),
  );
}

const code = (text) => h("code", {}, text);
const side = (title, content) => h("div", {}, h("h3", {}, title), content);
const shown = (name, value) => (["iat", "exp", "nbf"].includes(name) ? clock(value) : String(value));
const short = (asked) => (asked.live ? "live stream" : asked.offset === "-1" ? "from the beginning" : `from ${asked.offset ?? "?"}`);

function outcome({ status, refusal }) {
  return chip(refusal?.code ? `${status} ${refusal.code}` : String(status), status < 300 ? "good" : status === 409 ? "warn" : "bad");
}

function toElectric({ parameters, status, refusal }, one, settled) {
  if (one) {
    const { number, seconds, at } = one;
    const note = seconds === null ? `request ${number}, open since ${clock(at)}` : `request ${number}, answered with ${one.status}`;
    return [h("p", { class: "muted small" }, note), terms(Object.entries(one.parameters).map(([name, value]) => [name, code(value)]))];
  }
  if (!status) return "Not yet known.";
  if (refusal?.code) return "Nothing: it was refused here.";
  if (!settled) return "Not yet known.";
  return parameters.live ? "Nothing of its own: it shares a stream that is open." : "Nothing: it was answered from the cache.";
}

function answered({ status, refusal, headers }) {
  if (refusal?.code) return terms([["status", String(status)], ["code", code(refusal.code)], ["detail", refusal.detail ?? refusal.message]]);
  return terms([["status", String(status)], ...Object.entries(headers).map(([name, value]) => [name, value && code(value)])]);
}

// The console: sections come as server-sent events, each whenever it has changed, and are drawn into the page.

import { chart } from "./chart.js";
import { byId, chip, clock, counted, fill, h, keep, span, terms } from "./dom.js";

const MINUTES = 15;
const words = { true: ["yes", "good"], false: ["no", "bad"] };

const sections = {
  status(status) {
    const ready = status.workers.every((worker) => worker.ready);
    fill(byId("verdict"), chip(ready ? "Ready" : "Not ready", ready ? "good dot" : "bad dot"));
    fill(byId("status"), health(status), facts(status));
    byId("open-now").textContent = status.open_requests ?? "–";
  },
  series(points) {
    const to = points.at(-1)?.[0] ?? Date.now() / 1000;
    const range = { from: to - MINUTES * 60, to };
    const lag = points.map(([at, , seconds]) => [at, seconds === null ? null : seconds * 1000]);
    const last = chart(byId("lag"), { ...range, name: "Delivery lag", points: lag, floor: 20, words: (ms) => span(ms / 1000) });
    byId("lag-now").textContent = last === undefined ? "not measured" : span(last / 1000);
    const open = points.map(([at, count]) => [at, count]);
    chart(byId("open"), { ...range, name: "Open requests", points: open, floor: 5, words: (count) => String(Math.round(count)) });
  },
  streams(rows) {
    const sum = (member) => rows.reduce((total, row) => total + row[member], 0);
    byId("streams-sum").textContent = `${counted(sum("subscribers"), "subscriber")}, ${counted(sum("requests"), "request")} to Electric`;
    fill(byId("streams"), rows.length ? rows.map(stream) : h("tr", {}, h("td", { colspan: 5, class: "muted" }, "Nothing is open.")));
  },
  refusals(refusals) {
    byId("refusals-sum").textContent = refusals.length ? `the last ${refusals.length}` : "none so far";
    keep(byId("refusals"), refusals, (one) => `${one.request_id} ${one.at}`, refusal);
  },
  policies({ policies, digest, warnings }) {
    byId("policies-sum").textContent = `${policies.length}, digest ${digest}`;
    keep(byId("policies"), policies, (one) => `${one.name} ${digest} ${one.proof.why}`, (one) => policy(one, warnings));
  },
};

function health({ workers }) {
  return h("div", { class: "stack" }, workers.map((worker, index) => workerHealth(worker, workers.length > 1 ? index + 1 : 0)));
}

function workerHealth(worker, number) {
  const checks = Object.entries(worker.checks ?? {}).map(([name, met]) => [
    name.replaceAll("_", " "),
    h("span", { class: "row" }, chip(...words[met]), !met && h("span", {}, worker.why[name])),
  ]);
  const others = Object.entries(worker.why ?? {}).filter(([name]) => !(name in (worker.checks ?? {})));
  return h(
    "div",
    {},
    number > 0 && h("h3", {}, `Worker ${number}`),
    terms([
      ...checks,
      ...others.map(([name, why]) => [name, chip(why, "bad")]),
      ["Electric", worker.electric && chip(worker.electric, worker.electric_active ? "good" : "bad")],
      ["shapes", worker.electric && chip(worker.shapes_available ? "answered" : "failing", worker.shapes_available ? "good" : "bad")],
      ...Object.entries(worker.lag ?? {}).map(([name, state]) => [`${name} lag`, chip(state, state === "known" ? "good" : "warn")]),
    ]),
  );
}

const FAULTS = {
  rejected: "New policies or keys were rejected; the old ones serve",
  revocations: "Revocations that cannot be used",
  warnings: "Warnings of the policies",
  followers: "Shapes that the proxy follows and cannot read",
  policies: "Workers differ",
};

function facts(status) {
  if (!status.started_at) return null;
  const { keys, revocations, faults } = status;
  return h(
    "div",
    { class: "stack" },
    terms([
      ["version", status.version],
      ["started", new Date(status.started_at * 1000).toLocaleString([], { hour12: false })],
      ["places", `${status.open_requests} of ${status.max_open_requests} open requests`],
      ["token keys", `${keys.usable} in force${keys.skipped.length ? `, ${keys.skipped.length} skipped` : ""}`],
      ["revoked", `${revocations.entries} subjects and tokens`],
    ]),
    Object.entries(faults).map(([kind, lines]) =>
      h("div", {}, chip(FAULTS[kind] ?? kind, kind === "warnings" ? "warn" : "bad"), h("ul", { class: "small" }, lines.map((line) => h("li", { class: "mono" }, line)))),
    ),
  );
}

function stream({ policy: name, kind, requests, subscribers, oldest_seconds: oldest }) {
  return h(
    "tr",
    {},
    h("td", {}, h("code", {}, name)),
    h("td", {}, chip(kind)),
    h("td", { class: "figure" }, String(requests)),
    h("td", { class: "figure" }, String(subscribers)),
    h("td", { class: "figure" }, span(Math.max(1, oldest))),
  );
}

const trail = (rules) =>
  h("ol", { class: "trail", "aria-label": "Rules in their order" }, rules.map((rule) => h("li", { class: rule.endsWith(": ok") ? "" : "bad" }, rule)));

function refusal(one) {
  return h(
    "details",
    {},
    h("summary", {}, h("span", { class: "mono muted" }, clock(one.at)), chip(one.code, "bad"), h("span", {}, [one.policy, one.grant].filter(Boolean).join(" / "))),
    h("div", { class: "inside" }, trail(one.rules), terms([["reason", one.reason], ["request", h("code", {}, one.request_id)], ["subject", one.subject && h("code", {}, `${one.subject} (hashed)`)]])),
  );
}

const CODE = ["rows", "narrowed"];

function grant({ name, facts }) {
  const pairs = Object.entries(facts).map(([what, value]) => [what, CODE.includes(what) ? h("code", {}, value) : value]);
  return h("div", { class: "stack" }, h("h3", {}, name ? `Grant ${name}` : "Grant"), terms(pairs));
}

const PROOFS = { shared: "shares rows", "not known": "proof not known" };

function policy({ name, table, facts, grants, cases, types, proof }, warnings) {
  const passed = cases.filter((one) => one.passed).length;
  const own = warnings.filter((line) => line.includes(`/${name}.toml:`)).map((line) => line.replace(/^.*?\.toml: /, ""));
  const notes = [...new Set([...types.warnings, ...own])];
  return h(
    "details",
    {},
    h(
      "summary",
      {},
      h("span", {}, name),
      h("span", { class: "end row" }, chip(`${passed}/${cases.length} cases`, passed === cases.length ? "good" : "bad"), chip(types.known ? "types known" : "types not known", types.known ? "good" : "warn"), chip(PROOFS[proof.verdict] ?? proof.verdict, proof.verdict === "proved" ? "good" : proof.verdict === "shared" ? "bad" : "")),
    ),
    h(
      "div",
      { class: "inside" },
      terms([
        ["table", h("code", {}, table)],
        ...Object.entries(facts),
        ["unverified types", types.unverified.join(", ")],
        ["fault", types.fault],
        ["proof", proof.why],
        ["warnings", notes.join("; ")],
      ]),
      grants.map(grant),
      h("ul", { class: "small stack" }, cases.map((one) => h("li", { class: "row" }, chip(one.expect, one.passed ? (one.expect === "allow" ? "good" : "") : "bad"), h("span", {}, one.name)))),
    ),
  );
}

function explained(answer) {
  if (answer.detail) return chip(answer.detail, "bad");
  return [
    h("div", { class: "row" }, chip(answer.allowed ? "allowed" : answer.code, answer.allowed ? "good" : "bad")),
    h("dl", {}, answer.rules.map(verdict)),
    answer.upstream && h("div", { class: "stack" }, h("h3", {}, "Sent to Electric"), terms([["request", h("code", {}, `${answer.upstream.method} ${answer.upstream.target.split("?")[0]}`)], ...Object.entries(answer.upstream.parameters).map(([name, value]) => [name, h("code", {}, value)]), ["body", answer.upstream.body && h("code", {}, answer.upstream.body)]])),
  ];
}

function verdict({ rule, verdict: outcome, value, code, reason, detail }) {
  const text = outcome === "ok" ? shown(value) : [code, reason || detail].filter(Boolean).join(": ");
  return [h("dt", {}, rule), h("dd", { class: "row" }, chip(outcome, outcome === "ok" ? "good" : "bad"), h("span", { class: "mono" }, text))];
}

function shown(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.map(shown).join(", ") || "none";
  if (typeof value !== "object") return String(value);
  const named = Object.entries(value).map(([name, one]) => [name, shown(one)]);
  return named.filter(([, text]) => !["", "none"].includes(text)).map(([name, text]) => `${name}: ${text}`).join("; ") || "the only one";
}

byId("explain").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = Object.fromEntries(new FormData(event.target));
  const response = await fetch("console/explain", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(form) });
  fill(byId("explained"), explained(await response.json()));
});

const events = new EventSource("console/events");
const connection = (text, meaning) => fill(byId("connection"), chip(text, `dot ${meaning}`));
connection("connecting", "warn");
events.addEventListener("open", () => connection("live", "good"));
events.addEventListener("error", () => connection(events.readyState === EventSource.CLOSED ? "signed out: reload the page" : "connection lost", "bad"));
for (const [name, draw] of Object.entries(sections)) events.addEventListener(name, ({ data }) => draw(JSON.parse(data)));

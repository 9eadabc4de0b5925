// A person of the demo: a token that renews itself, a chat that is followed, a box to write in.

import { chip, clock, fill, h, keep, terms } from "./dom.js";
import { passed } from "./passes.js";
import { claimsOf, Follower } from "./shapes.js";

const EARLY = 20; // seconds before its end at which a token is renewed
const TICKS = 3;
const STATES = { live: "good", reading: "warn", waiting: "warn", ended: "bad" };

// Sends a form to the app's backend. Throws its error message.
export async function post(path, form) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(form) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

export class Person {
  constructor({ name, account, session }, tone, proxy) {
    Object.assign(this, { name, account, session, tone, proxy });
    this.label = name[0].toUpperCase() + name.slice(1);
    this.rows = new Map();
    this.written = new Map();
    this.#build();
    this.follow();
    setInterval(() => this.#tick(), 1000);
  }

  // A token that is good for a while, renewed if it is about to end.
  async token() {
    if (!this.held || claimsOf(this.held).exp - Date.now() / 1000 < EARLY) {
      this.held = (await post("token", { who: this.name })).token;
      this.#claims();
    }
    return this.held;
  }

  follow() {
    this.held = undefined;
    this.follower = new Follower(this.proxy, "chat_messages", () => this.token(), {
      rows: (messages, restarted) => this.#take(messages, restarted),
      state: (word, code) => this.#state(word, code),
      seen: (exchange) => passed(this, exchange),
    });
    this.follower.run();
  }

  get isLive() {
    return this.state === "live";
  }

  #build() {
    this.status = h("span", { class: "row", role: "status" });
    this.timer = h("span", { class: "muted small" });
    this.list = h("ol", {});
    this.log = h("div", { class: "messages", role: "log", tabindex: 0, "aria-label": `Messages of ${this.label}` }, this.list);
    const named = { "aria-label": `Message of ${this.label}`, placeholder: "Write a message" };
    this.input = h("input", { id: `write-${this.name}`, autocomplete: "off", maxlength: 2000, ...named });
    this.revoke = h("button", { class: "danger", onclick: () => this.#signOutOrIn() }, `Revoke ${this.label}`);
    this.claims = h("div", {});
    this.element = h(
      "section",
      { class: `card person ${this.tone}`, "aria-labelledby": `name-${this.name}` },
      h(
        "div",
        { class: "row" },
        h("span", { class: "avatar tone", "aria-hidden": "true" }, this.label[0]),
        h("h2", { id: `name-${this.name}` }, this.label),
        h("span", { class: "muted small" }, `${this.account} in ${this.session}`),
        h("span", { class: "end" }, this.status),
      ),
      this.log,
      h(
        "form",
        { class: "write", onsubmit: (event) => this.#write(event) },
        this.input,
        h("button", { class: "main" }, "Send"),
      ),
      h("div", { class: "row" }, this.timer, h("span", { class: "end" }, this.revoke)),
      h("details", {}, h("summary", { class: "small" }, "The token"), h("div", { class: "inside" }, this.claims)),
    );
    this.#state("reading", "");
  }

  async #write(event) {
    event.preventDefault();
    const body = this.input.value.trim();
    if (!body) return;
    const id = crypto.randomUUID();
    this.written.set(id, performance.now());
    try {
      await post("message", { who: this.name, body, id });
      this.input.value = "";
    } catch (fault) {
      fill(this.status, chip(fault.message, "bad"));
    }
  }

  async #signOutOrIn() {
    if (this.signedOut) {
      await post("sign-in", { who: this.name });
      this.signedOut = false;
      this.rows.clear();
      this.revoke.textContent = `Revoke ${this.label}`;
      this.revoke.className = "danger";
      this.follow();
    } else {
      this.signedOut = true;
      await post("revoke", { who: this.name });
      this.revoke.textContent = `Let ${this.label} sign in again`;
      this.revoke.className = "";
    }
  }

  #state(word, code) {
    this.state = word;
    fill(this.status, chip(word === "ended" ? `stream ended: ${code}` : word, `dot ${STATES[word]}`));
  }

  #claims() {
    fill(this.claims, terms(Object.entries(claimsOf(this.held)).map(([name, value]) => [name, h("code", {}, ["iat", "exp"].includes(name) ? clock(value) : String(value))])));
  }

  #tick() {
    const left = this.held ? Math.round(claimsOf(this.held).exp - Date.now() / 1000) : 0;
    this.timer.textContent = this.state === "ended" ? "" : `Token: ${left} s left, then renewed`;
    if (this.isLive && left < EARLY) this.follower.renew();
  }

  #take(messages, restarted) {
    if (restarted) this.rows.clear();
    const bottom = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    for (const { key, value, headers } of messages) {
      if (headers.operation === "delete") this.rows.delete(key);
      else this.rows.set(key, { ...this.rows.get(key), ...value });
      this.#measure(value);
    }
    this.#draw();
    if (bottom || messages.length > 5) this.log.scrollTop = this.log.scrollHeight;
  }

  #measure({ id, client_message_id: written }) {
    if (!this.written.has(written)) return;
    this.rows.get([...this.rows.keys()].find((key) => this.rows.get(key).id === id)).took = performance.now() - this.written.get(written);
    this.written.delete(written);
  }

  #draw() {
    const rows = [...this.rows.values()].sort((one, other) => (one.created_at < other.created_at ? -1 : 1));
    const ticks = rows.filter(isTick);
    const old = new Set(ticks.slice(0, -TICKS));
    const shown = rows.filter((row) => !old.has(row));
    keep(this.list, shown, (row) => row.id, (row) => this.#message(row));
  }

  #message(row) {
    const mine = row.role === "user";
    const note = row.took === undefined ? "" : `arrived ${Math.round(row.took)} ms after Send`;
    return h(
      "li",
      { class: `arrives ${isTick(row) ? "tick" : mine ? "mine" : ""}` },
      row.body ?? "(no text)",
      note && h("small", {}, note),
    );
  }
}

const isTick = (row) => row.role === "assistant" && /^it is \d\d:/.test(row.body ?? "");

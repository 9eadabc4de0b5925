// A client of Electric shapes in one page: the rows that there are, then a stream of changes, for as long as it lasts.

const WAIT = 1000;

// The claims of a token. It is only shown: the proxy is who verifies it.
export function claimsOf(token) {
  const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0))));
}

// One request with a token. `seen` is given what was asked, and later the answer.
export async function ask(proxy, parameters, token, seen, signal) {
  const exchange = { parameters, claims: token && claimsOf(token), at: Date.now() / 1000 };
  const answered = seen(exchange);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(`${proxy}/v1/shape?${new URLSearchParams(parameters)}`, { headers, signal, cache: "no-store" });
  exchange.status = response.status;
  exchange.headers = Object.fromEntries(["electric-handle", "electric-offset", "x-request-id"].map((name) => [name, response.headers.get(name)]));
  if (!response.ok && response.headers.get("content-type")?.includes("json")) exchange.refusal = await response.json();
  answered(exchange);
  return { response, exchange };
}

// Follows one table. `getToken` gives a token that is good for a while; `on` has rows(messages, restarted), state(word,
// code) and seen(exchange).
export class Follower {
  constructor(proxy, table, getToken, on) {
    Object.assign(this, { proxy, table, getToken, on });
    this.position = { offset: "-1" };
    this.controller = new AbortController();
  }

  // Goes on with another token, from where it is.
  renew() {
    this.controller.abort("renewed");
  }

  stop() {
    this.stopped = true;
    this.controller.abort("stopped");
  }

  // Runs until it is stopped or refused for good.
  async run() {
    while (!this.stopped) {
      this.controller = new AbortController();
      try {
        if (await this.#once(await this.getToken())) continue;
      } catch (fault) {
        if (this.stopped) return;
        if (this.controller.signal.aborted) continue;
        if (fault.final) return this.on.state("ended", fault.message);
        this.on.state("waiting", "");
      }
      await new Promise((resolve) => setTimeout(resolve, WAIT));
    }
  }

  // One request. Says whether the next one may follow at once.
  async #once(token) {
    const live = this.position.live ? { live: "true", live_sse: "true" } : {};
    const { live: _, ...position } = this.position;
    const parameters = { table: this.table, ...position, ...live };
    this.on.state(live.live ? "live" : "reading", ""); // a stream's head comes with its first event, perhaps much later
    const { response, exchange } = await ask(this.proxy, parameters, token, this.on.seen, this.controller.signal);
    if (response.status === 409) return this.#restart(exchange.headers["electric-handle"]);
    if (response.status === 401 && exchange.refusal.code === "token_expired") return true;
    if (!response.ok) {
      if (response.status === 429 || response.status >= 500) return false;
      throw Object.assign(new Error(exchange.refusal?.code ?? String(response.status)), { final: true });
    }
    this.#advance(response.headers);
    if (response.headers.get("content-type").startsWith("text/event-stream")) await this.#stream(response.body);
    else this.#take(await response.json(), false);
    return true;
  }

  #restart(handle) {
    this.position = handle ? { offset: "-1", handle } : { offset: "-1" };
    this.on.rows([], true);
    return true;
  }

  #advance(headers) {
    for (const name of ["offset", "handle", "cursor"]) {
      const value = headers.get(`electric-${name}`);
      if (value) this.position[name] = value;
    }
  }

  async #stream(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
        if (data) this.#take([JSON.parse(data)].flat(), true);
      }
    }
  }

  // In a stream the position is in the messages, else in the head.
  #take(messages, streamed) {
    const rows = messages.filter((message) => message.value !== undefined);
    if (rows.length) this.on.rows(rows, false);
    for (const { headers } of messages) {
      if (headers.control !== "up-to-date") continue;
      this.position.live = true;
      if (streamed && headers.global_last_seen_lsn) this.position.offset = `${headers.global_last_seen_lsn}_0`;
    }
  }
}

// JSON lines: what this process saw goes out, orders come in.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

export const config = JSON.parse(process.argv[2] ?? "{}");

export function tell(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields }, (_, v) => (typeof v === "bigint" ? Number(v) : v))}\n`);
}

/** Calls `orders[order]` for each line; the process ends with its input, after `leave`. */
export function obey(orders, leave = () => {}) {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    const { order, ...fields } = JSON.parse(line);
    try {
      await orders[order](fields);
    } catch (error) {
      tell("failed", { order, ...describe(error) });
    }
  });
  lines.on("close", async () => {
    await leave();
    process.exit(0); // whatever still runs
  });
}

/** As `obey`, with one function for all orders. */
export function obeyAll(order, leave) {
  obey(new Proxy({}, { get: (_, name) => (fields) => order(name, fields) }), leave);
}

/** A token as an event may name it. */
export function digest(token) {
  return createHash("sha256").update(token).digest("hex").slice(0, 8);
}

export function describe(error) {
  const { name, message, status, json, headers } = error;
  return { name, message, status, code: json?.code, json, retryAfter: headers?.["retry-after"] };
}

/** A fetch that tells of every request and its answer. */
export async function tellingFetch(url, init) {
  const target = String(url);
  const method = init?.method ?? "GET";
  const token = new Headers(init?.headers).get("authorization")?.replace("Bearer ", "");
  const query = Object.fromEntries(new URL(target).searchParams);
  const who = token && digest(token);
  tell("request", { method, path: new URL(target).pathname, query, size: target.length, token: who, body: init?.body });
  const answer = await fetch(url, init);
  tell("answer", { method, status: answer.status, query, headers: Object.fromEntries(answer.headers) });
  return answer;
}

/** Asks the test for a token, and waits until it gives one. */
const waiting = [];
export function wantToken() {
  tell("token_wanted");
  return new Promise((resolve) => waiting.push(resolve));
}
export function giveToken({ token }) {
  waiting.shift()(token);
}

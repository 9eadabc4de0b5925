// The demo page: two people, attempts that must fail, a crowd, and the lag.

import { chart } from "./chart.js";
import { byId, chip, fill, h, span } from "./dom.js";
import { passed, sent } from "./passes.js";
import { Person, post } from "./people.js";
import { ask } from "./shapes.js";

const MORE = 100;
const MINUTES = 2;

const about = await (await fetch("about")).json();
byId("title").textContent = `in front of ${about.title}`;
byId("console").href = about.console;
const [ada, bob] = about.people.map((person, index) => new Person(person, ["one", "two"][index], about.proxy));
fill(byId("people"), ada.element, bob.element);

// What must not work: a name, whose token, what is asked, and why it fails.
const attempts = [
  {
    name: "Bob's token, Ada's session",
    who: bob,
    parameters: () => ({ table: "chat_messages", offset: "-1", where: "session_id = 's-ada'" }),
    why: "The token is for s-bob, so no filter can ask for rows of s-ada.",
  },
  {
    name: "A hidden column",
    who: ada,
    parameters: () => ({ table: "session_uploads", offset: "-1", columns: "id,content" }),
    why: "The policy never lets this column leave.",
  },
  {
    name: "An unknown table",
    who: ada,
    parameters: () => ({ table: "secrets", offset: "-1" }),
    why: "No policy names it, and what no policy names does not exist.",
  },
  {
    name: "An expired token",
    who: ada,
    token: async () => (await post("token", { who: "ada", expired: true })).token,
    parameters: () => ({ table: "chat_messages", offset: "-1" }),
    why: "Its time is over. The clients of this page renew theirs before that.",
  },
  {
    name: "No token",
    who: ada,
    token: () => "",
    parameters: () => ({ table: "chat_messages", offset: "-1" }),
    why: "Nobody asks, so nothing is answered.",
  },
  {
    name: "A forged handle",
    who: bob,
    parameters: () => ({ table: "chat_messages", offset: bob.follower.position.offset, handle: forged(ada.follower.position.handle) }),
    why: "The handle of Ada's shape is not one of Bob's. It does not go to Electric, which answers: start again.",
  },
];

// Ada's handle with another signature.
const forged = (handle = "1-1.") => `${handle.split(".")[0]}.${"A".repeat(16)}`;

async function attempt({ name, who, parameters, why, token }) {
  const held = token ? await token() : await who.token();
  const { exchange } = await ask(about.proxy, parameters(), held, (one) => passed(who, one, true));
  const { status, refusal } = exchange;
  fill(
    byId("outcome"),
    h("p", { class: "row" }, h("strong", {}, name), chip(refusal?.code ? `${status} ${refusal.code}` : String(status), status < 300 ? "warn" : "good")),
    h("p", { class: "small muted" }, why),
  );
}

async function tried(one) {
  try {
    await attempt(one);
  } catch (fault) {
    fill(byId("outcome"), chip(`${one.name}: ${fault.message}`, "bad"));
  }
}

fill(byId("attempts"), attempts.map((one) => h("button", { onclick: () => tried(one) }, one.name)));

let crowd = 0;
byId("more").addEventListener("click", () => post("clients", { clients: crowd >= MORE ? 0 : MORE }));

function counts({ crowd: clients, upstream }) {
  crowd = clients;
  byId("clients").textContent = clients + Number(ada.isLive);
  byId("upstream").textContent = upstream["s-ada"];
  byId("more").setAttribute("aria-pressed", String(clients >= MORE));
  byId("more").textContent = clients >= MORE ? "Send them away" : `${MORE} more clients`;
}

const points = [];
function lag([at, seconds]) {
  points.push([at, seconds * 1000]);
  points.splice(0, points.length - 60 * MINUTES * 2);
  const range = { from: at - 60 * MINUTES, to: at };
  chart(byId("lag"), { ...range, name: "Delivery lag", points, floor: 20, words: (ms) => span(ms / 1000) });
  byId("lag-now").textContent = span(seconds);
}

const events = new EventSource("events");
for (const [name, take] of Object.entries({ sent, counts, lag })) events.addEventListener(name, ({ data }) => take(JSON.parse(data)));
setInterval(() => (byId("clients").textContent = crowd + Number(ada.isLive)), 500);

// One Chromium for all tests. Each page has a context of its own (own cache, own storage) and is driven by orders.
import { chromium } from "playwright-core";
import { config, describe, obeyAll, tell } from "./lines.mjs";
import { contextFor, looked } from "./looking.mjs";

const browser = await chromium.launch({
  executablePath: config.path,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
  ],
});
const pages = new Map();

async function open(number, { url, ...look }) {
  const say = (event, fields) => tell(event, { page: number, ...fields });
  const context = await contextFor(browser, look);
  const page = await context.newPage();
  pages.set(number, { context, page, say });
  await page.exposeFunction("told", (event, fields) => say(event, JSON.parse(fields)));
  page.on("pageerror", (error) => say("page_error", { message: String(error) }));
  page.on("console", (message) => say("console", { level: message.type(), text: message.text() }));
  const network = await context.newCDPSession(page);
  await network.send("Network.enable");
  network.on("Network.responseReceived", ({ type, response: { url, status, protocol } }) => {
    say("response", { type, url, status, protocol });
  });
  await page.goto(url);
  say("opened", {});
}

function visibility(page, hidden) {
  return page.evaluate((value) => {
    const state = value ? "hidden" : "visible";
    Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
}

const own = {
  offline: ({ context }) => context.setOffline(true),
  online: ({ context }) => context.setOffline(false),
  hide: ({ page }) => visibility(page, true),
  show: ({ page }) => visibility(page, false),
};

/** Looks at a page as a person does; what fails is told to its tab. */
async function lookedAt(order, number, fields) {
  const { say, ...at } = pages.get(number);
  try {
    return await looked(order, at, fields, say);
  } catch (error) {
    say("failed", { order, ...describe(error) });
    return true;
  }
}

obeyAll(async (order, { page: number, ...fields }) => {
  if (order === "open") return open(number, fields);
  const { context, page, say } = pages.get(number);
  if (order === "leave") {
    pages.delete(number);
    await context.close();
    tell("left", { number });
  } else if (own[order]) {
    await own[order]({ context, page });
    say("done", { order });
  } else if (!(await lookedAt(order, number, fields))) {
    await page.evaluate(([name, given]) => window.order(name, given), [order, fields]);
  }
}, () => browser.close());
tell("running");

// What a person does with a page of ours: clicks, writes, reads, looks at it; and what axe finds in it.
import { createRequire } from "node:module";
import { writeFile } from "node:fs/promises";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** A context with axe in each page: pages with a strict policy take no other script. */
export async function contextFor(browser, { scheme = "light", width = 1280, height = 900, axe = false, clock = false }) {
  const look = { colorScheme: scheme, viewport: { width, height }, reducedMotion: axe ? "reduce" : "no-preference" };
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...look });
  if (axe) await context.addInitScript({ path: AXE });
  if (clock) await context.clock.install();
  return context;
}

const looking = {
  click: ({ page }, { selector }) => page.click(selector),
  write: ({ page }, { selector, text }) => page.fill(selector, text),
  press: ({ page }, { key }) => page.keyboard.press(key),
  wait: ({ page }, { selector, text }) => page.locator(selector).filter({ hasText: text }).first().waitFor(),
  later: ({ context }, { seconds }) => context.clock.fastForward(seconds * 1000),
  exists: ({ page }, { selector }) => page.locator(selector).first().waitFor({ state: "attached" }),
  async screenshot({ context, page }, { path }) {
    const format = path.endsWith("webp") ? { format: "webp", quality: 80 } : { format: "png" };
    const { width, height } = page.viewportSize();
    const session = await context.newCDPSession(page);
    const { data } = await session.send("Page.captureScreenshot", { ...format, clip: { x: 0, y: 0, width, height, scale: 1 } });
    await writeFile(path, Buffer.from(data, "base64"));
  },
};

const reading = {
  text: ({ page }, { selector }) => page.locator(selector).allInnerTexts(),
  url: ({ page }) => page.url(),
  focused: ({ page }) => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.id),
  overflow: ({ page }) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
  async violations({ page }) {
    const { violations } = await page.evaluate(() => window.axe.run());
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
  },
};

/** Does or answers an order; false if it is none of these. */
export async function looked(order, at, fields, say) {
  if (looking[order]) {
    await looking[order](at, fields);
    say("done", { order });
  } else if (reading[order]) {
    say("read", { what: order, value: await reading[order](at, fields) });
  } else {
    return false;
  }
  return true;
}

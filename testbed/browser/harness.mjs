// What scenarios share: the browser, its pages, checks, and axe. Driven by Playwright, which waits by itself.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.env.MODULES}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const TIMEOUT = 90_000;

// A headless browser, with what has gone wrong in its pages.
export async function launch() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  const mistakes = [];
  const open = async (options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
    context.setDefaultTimeout(TIMEOUT);
    context.on("page", (page) => {
      page.on("pageerror", (error) => mistakes.push(error.message));
      page.on("console", (message) => {
        // What the network says is tested by what the page shows.
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) mistakes.push(message.text());
      });
    });
    return context;
  };
  return { browser, open, mistakes };
}

export function check(isTrue, text) {
  if (!isTrue) throw new Error(text);
}

// Waits until a page contains a text, without loading it again.
export async function shows(page, text, within = "main") {
  await page.locator(within).getByText(text).first().waitFor();
}

// Waits until the script of a page runs.
export async function scripted(page) {
  await page.locator("#zone").waitFor();
}

// Fails on what axe calls serious or critical.
export async function accessible(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const text = bad.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html}\n${node.failureSummary}`).join("\n")}`);
  check(!bad.length, `${name}: axe finds ${text.join("\n")}`);
}

// No page may be wider than the screen.
export async function fits(page, name) {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(wide <= screen, `${name} is ${wide} px wide on a screen of ${screen} px`);
}

export async function submit(base, data) {
  const response = await fetch(`${base}/api/v1/processData`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ data }),
  });
  check(response.status === 202, `not accepted: ${response.status}`);
  return (await response.json()).requestId;
}

// Waits until a request has a status.
export async function until(base, id, status) {
  const end = Date.now() + TIMEOUT;
  for (;;) {
    const request = await (await fetch(`${base}/api/v1/requests/${id}`)).json();
    if (request.status === status) return request;
    check(Date.now() < end, `${id} is ${request.status} and not ${status}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

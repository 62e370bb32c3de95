// Scenarios of the page in a real browser: `node scenarios.mjs NAME BASE...`. Each fails by an error.

import { accessible, check, fits, launch, scripted, shows, submit, until } from "./harness.mjs";

const [name, base, other] = process.argv.slice(2);
const say = (text) => console.log(text);

const scenarios = {
  // A request is submitted by the form, watched while it is worked on, and seen to end, all without loading a page again.
  async watched({ open }) {
    const page = await (await open()).newPage();
    await page.goto(`${base}/submit`);
    await page.getByLabel("Data", { exact: true }).fill('{"progress": [3, 8], "sleep": "3s", "text": "<i>&"}');
    await page.getByRole("button", { name: "Submit" }).click();
    await page.waitForURL("**/requests/*");
    await page.evaluate(() => { window.isSame = true; });
    await page.locator("h1 .state.processing").waitFor();
    await shows(page, "3 of 8");
    check(Number(await page.locator("main progress").getAttribute("value")) === 0.375, "the bar is not at 3 of 8");
    await shows(page, "Attempt 1");
    await page.locator("h1 .state.completed").waitFor();
    await shows(page, '"text": "<i>&"', "section[aria-labelledby=result]");
    check(await page.evaluate(() => window.isSame), "the page was loaded again");
    check(await page.getByRole("button", { name: "Cancel" }).count() === 0, "an ended request can be cancelled");
  },

  // What waits for its next attempt begins now, what failed is replayed, what is open is cancelled after a question.
  async acted({ open }) {
    const page = await (await open()).newPage();
    const retried = await submit(base, { retryAfter: "1h" });
    await page.goto(`${base}/requests/${retried}`);
    await page.getByRole("button", { name: "Retry now" }).click();
    await page.locator("h1 .state.completed").waitFor();

    const failed = await submit(base, { permanent: "no such file 7" });
    await until(base, failed, "failed");
    await page.goto(`${base}/failed`);
    await shows(page, "no such file");
    await page.goto(`${base}/requests/${failed}`);
    await scripted(page);
    await page.keyboard.press("r");
    await shows(page, "Replayed: it is queued again.");
    await shows(page, "no such file 7");

    const open_ = await submit(base, { hang: true });
    await page.goto(`${base}/requests/${open_}`);
    await scripted(page);
    await page.keyboard.press("c");
    await page.getByRole("button", { name: "No", exact: true }).click();
    check((await (await fetch(`${base}/api/v1/requests/${open_}`)).json()).status !== "cancelled", "No cancels");
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("button", { name: "Yes", exact: true }).click();
    await page.locator("h1 .state.cancelled").waitFor();

    // Cancelled once more, by a page that is not up to date. The answer to a form stays as it is.
    await page.evaluate((action) => {
      const form = Object.assign(document.createElement("form"), { method: "post", action });
      document.body.append(form);
      form.submit();
    }, `${base}/requests/${open_}/cancel`);
    await shows(page, "The request has ended already");
    await page.locator("#live").waitFor({ state: "hidden" });
  },

  // Several requests are replayed: a dry run, a number to type over 100, ten seconds to undo it, progress.
  async bulk({ open }) {
    const ids = [];
    for (let number = 0; number < 3; number += 1) ids.push(await submit(base, { fail: 9, permanent: `no file ${number}` }));
    for (const id of ids) await until(base, id, "failed");
    const page = await (await open()).newPage();
    await page.goto(`${base}/requests?status=failed`);
    await page.getByRole("link", { name: "Replay all that match" }).click();
    await page.getByRole("heading", { name: "Replay 3 requests?" }).waitFor();
    await page.getByRole("button", { name: "Replay 3 requests" }).click();
    await page.waitForURL("**/bulk/*");
    await page.getByRole("button", { name: "Undo" }).click();
    await shows(page, "Undone: nothing was changed.");
    for (const id of ids) check((await until(base, id, "failed")).run === 0, "it was replayed all the same");

    await page.goto(`${base}/requests?status=failed`);
    for (const id of ids.slice(0, 2)) await page.getByLabel(`Choose ${id}`).check();
    await page.getByRole("button", { name: "Replay…" }).click();
    await page.getByRole("button", { name: "Replay 2 requests" }).click();
    await page.waitForURL("**/bulk/*");
    await page.evaluate(() => { window.isSame = true; });
    await shows(page, "Finished. 2 requests were changed.");
    check(await page.evaluate(() => window.isSame), "the page was loaded again");
    const runs = await Promise.all(ids.map(async (id) => (await until(base, id, "failed")).run));
    check(runs.join() === "1,1,0", `the runs are ${runs}`);

    await page.goto(`${base}/failed`);
    await page.getByRole("link", { name: "A few first…" }).first().click();
    await page.getByRole("button", { name: "Replay a few first" }).click();
    await page.waitForURL("**/bulk/*");
    await shows(page, "Stopped by itself: too many have failed again.");
    await shows(page, "0 are completed,");
    await page.goto(`${base}/failed`);
    await shows(page, "Replay, a few first", "table.runs");

    const lines = Array.from({ length: 101 }, () => JSON.stringify({ data: { permanent: "no" } })).join("\n");
    await fetch(`${base}/api/v1/processData/batch`, { method: "POST", headers: { "content-type": "application/x-ndjson" }, body: lines });
    const failed = async () => (await (await fetch(`${base}/api/v1/requests?status=failed&limit=500`)).json()).items.length;
    while (await failed() < 104) await new Promise((done) => setTimeout(done, 100));
    await page.goto(`${base}/bulk?action=discard&status=failed`);
    await page.getByLabel("Type 104 to go on").fill("103");
    await page.getByRole("button", { name: "Discard 104 requests" }).click();
    await shows(page, "This is not the number.");
    await page.getByLabel("Type 104 to go on").fill("104");
    await page.getByRole("button", { name: "Discard 104 requests" }).click();
    await shows(page, "Finished. 104 requests were changed.");
    check(await failed() === 0, "some are left");
    const refused = await fetch(`${base}/bulk?action=discard`);
    check(refused.status === 400, `an empty choice is ${refused.status}`);
  },

  // The pages of two web services come to show the same.
  async agreed({ open }) {
    const context = await open();
    const pages = [await context.newPage(), await (await open()).newPage()];
    const ids = [await submit(base, 1), await submit(other, 2)];
    await pages[0].goto(`${base}/requests`);
    await pages[1].goto(`${other}/requests`);
    for (const id of ids) await until(base, id, "completed");
    for (const page of pages) {
      for (const id of ids) await page.locator(`tr[data-key="${id}"] .state.completed`).waitFor();
    }
    const [one, two] = await Promise.all(pages.map((page) => page.locator("tbody").innerText()));
    check(one === two, `${one}\n--- and ---\n${two}`);
  },

  // Seven tabs of one browser are live, by one stream: browsers allow six connections to a host.
  async tabs({ open }) {
    const context = await open();
    const pages = [];
    const id = await submit(base, { sleep: "8s" });
    for (let tab = 0; tab < 7; tab += 1) {
      const page = await context.newPage();
      await page.goto(`${base}/requests/${id}`);
      pages.push(page);
    }
    const { held } = await pages[0].evaluate(() => navigator.locks.query());
    check(held.length === 1, `${held.length} tabs hold a stream`);
    for (const page of pages) {
      await page.locator("#live[data-state=on]").waitFor();
      await page.locator("h1 .state.completed").waitFor();
    }
    // The one that holds the stream is closed: another one takes it over.
    await pages[0].close();
    const next = await submit(base, { sleep: "2s" });
    await pages[1].goto(`${base}/requests/${next}`);
    await pages[1].locator("#live[data-state=on]").waitFor();
    await pages[1].locator("h1 .state.completed").waitFor();
  },

  // While a web service starts again, a proxy answers 502: that ends a stream for good. The page opens another one.
  async reopened({ open }) {
    const page = await (await open()).newPage();
    await page.route("**/live", (route) => route.fulfill({ status: 502, body: "bad gateway" }));
    await page.goto(`${base}/`);
    await page.locator("#live[data-state=poll]").waitFor();
    await page.waitForRequest("**/live");
    await page.unroute("**/live");
    await page.locator("#live[data-state=on]").waitFor();
  },

  // A long result does not freeze the page.
  async long({ open }) {
    const page = await (await open()).newPage();
    const id = await submit(base, "x".repeat(5 * 1024 * 1024));
    await until(base, id, "completed");
    const start = Date.now();
    await page.goto(`${base}/requests/${id}`);
    await shows(page, "5.0 MiB, the beginning is shown");
    const { length } = await page.content();
    check(length < 64 * 1024, `the page has ${length} characters`);
    await page.locator("section[aria-labelledby=result]").getByRole("link", { name: "show more" }).click();
    await page.waitForURL("**whole=result");
    check((await page.content()).length < 400 * 1024, "more than 256 KiB are shown");
    check(Date.now() - start < 20_000, "it took more than 20 s");
  },

  // Rows change in place; new ones wait until they are asked for.
  async listed({ open }) {
    const page = await (await open()).newPage();
    const first = await submit(base, { sleep: "3s" });
    await page.goto(`${base}/requests`);
    await page.locator(`tr[data-key="${first}"] .state.processing`).waitFor();
    const second = await submit(base, { sleep: "1ms" });
    await page.getByRole("button", { name: "1 new" }).waitFor();
    check(await page.locator(`tr[data-key="${second}"]`).count() === 0, "the new row has moved the others");
    await page.locator(`tr[data-key="${first}"] .state.completed`).waitFor();
    await page.getByRole("button", { name: "1 new" }).click();
    await page.locator(`tr[data-key="${second}"]`).waitFor();
    await scripted(page);
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/requests/${second}`);
    await scripted(page);
    await page.keyboard.press("?");
    await page.getByRole("heading", { name: "Keyboard" }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    await page.keyboard.type(first);
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/requests/${first}`);
  },

  // What fails late is new in a list of failed ones, and the next page begins after the last row, whatever has left the list.
  async older({ open }) {
    const page = await (await open()).newPage();
    const keys = () => page.locator("tbody tr[data-key]").evaluateAll((rows) => rows.map((row) => row.dataset.key));
    const late = await submit(base, { sleep: "5s", permanent: "late" });
    const early = await submit(base, { permanent: "early" });
    await until(base, early, "failed");
    await page.goto(`${base}/requests?status=failed`);
    check((await keys()).join() === early, "the late one was early");
    await page.getByRole("button", { name: "1 new" }).click();
    await page.locator(`tr[data-key="${late}"]`).waitFor();

    const ids = [];
    for (let number = 0; number < 58; number += 1) ids.push(await submit(base, { permanent: "no" }));
    for (const id of ids) await until(base, id, "failed");
    await page.reload();
    const shown = await keys();
    check(shown.length === 50, `${shown.length} rows`);
    for (const id of shown.slice(3, 14)) await fetch(`${base}/api/v1/requests/${id}/discard`, { method: "POST" });
    await page.waitForFunction(() => document.querySelectorAll("tr.gone").length === 11);
    await page.getByRole("link", { name: "Older" }).click();
    await page.waitForURL("**cursor=*");
    const expected = [...ids.filter((id) => id < shown.at(-1)).reverse(), early, late];
    check((await keys()).join() === expected.join(), `${await keys()} is not ${expected}`);
  },

  // Times are those of the reader's zone, UTC, or relative, and the choice is kept.
  async timed({ open }) {
    const id = await submit(base, 1);
    const accepted = new Date((await (await fetch(`${base}/api/v1/requests/${id}`)).json()).acceptedAt);
    const page = await (await open({ timezoneId: "Asia/Kolkata" })).newPage();
    await page.goto(`${base}/requests/${id}`);
    const time = page.locator(".timeline time").first();
    const clock = (timeZone) => accepted.toLocaleTimeString("de-DE", { timeZone, hour12: false });
    const says = async (text) => check((await time.innerText()).endsWith(text), `${await time.innerText()} is not ${text}`);
    await says(clock("Asia/Kolkata"));
    await page.locator("#zone").selectOption("utc");
    await says(clock("UTC"));
    await page.reload();
    await says(clock("UTC"));
    await page.locator("#zone").selectOption("relative");
    await says("ago");
  },

  // Every page passes axe and fits the screen: light and wide, dark and on a phone.
  async accessible({ open }) {
    const failed = await submit(base, { permanent: "a mistake" });
    const waiting = await submit(base, { retryAfter: "1h" });
    const running = await submit(base, { hang: true });
    await until(base, failed, "failed");
    await until(base, running, "processing");
    const paths = ["/", "/requests", "/requests?status=cancelled", "/failed", "/workers", "/submit",
      `/requests/${failed}`, `/requests/${waiting}`, `/requests/${running}`];
    for (const [colorScheme, width] of [["light", 1280], ["dark", 390]]) {
      // axe is no script of the page.
      const context = await open({ colorScheme, viewport: { width, height: 860 }, bypassCSP: true });
      const page = await context.newPage();
      for (const path of paths) {
        const place = `${path} (${colorScheme}, ${width})`;
        await page.goto(base + path);
        await scripted(page);
        await accessible(page, place);
        await fits(page, place);
      }
      await context.close();
    }
  },

  // Pictures of the pages for the documentation, into the folder that is the last argument. Each page has its four looks.
  async pictures({ open }) {
    const folder = other;
    for (let number = 1; number <= 6; number += 1) await submit(base, { invoice: number, customer: `K-20${40 + number}`, sleep: "120ms" });
    for (const scan of [2047, 2051, 2052]) await submit(base, { scan, permanent: `no such file: /scans/${scan}.pdf` });
    await submit(base, { invoice: 7, permanent: "the customer K-2047 has no address" });
    const failed = await submit(base, { invoice: 8, customer: "K-2048", always: "the archive answers 503, attempt" });
    await until(base, failed, "failed");
    const cancelled = await submit(base, { invoice: 9, retryAfter: "1h" });
    await fetch(`${base}/api/v1/requests/${cancelled}`, { method: "DELETE" });
    const waiting = await submit(base, { invoice: 10, customer: "K-2050", retryAfter: "1h" });
    await until(base, waiting, "queued");
    const ids = [];
    for (const [done, total] of [[3, 8], [118, 240]]) ids.push(await submit(base, { customer: "K-2051", pages: total, progress: [done, total], hang: true }));
    for (const id of ids) await until(base, id, "processing");
    for (let number = 11; number <= 14; number += 1) await submit(base, { invoice: number, customer: `K-20${40 + number}`, sleep: "80ms" });
    const setup = await (await open()).newPage();
    await setup.goto(`${base}/bulk?action=replay&canary=true&status=failed&code=permanent`);
    await setup.getByRole("button", { name: "Replay a few first" }).click();
    await shows(setup, "Stopped by itself");
    const pages = {
      overview: "/", requests: "/requests", "failed-list": "/requests?status=failed", failed: "/failed", workers: "/workers", submit: "/submit",
      request: `/requests/${failed}`, waiting: `/requests/${waiting}`, running: `/requests/${ids[1]}`, bulk: new URL(setup.url()).pathname,
      "dry-run": "/bulk?action=discard&status=failed",
    };
    for (const colorScheme of ["light", "dark"]) {
      for (const [screen, viewport, deviceScaleFactor] of [["desktop", { width: 1280, height: 640 }, 1], ["phone", { width: 390, height: 844 }, 1.25]]) {
        const context = await open({ colorScheme, viewport, deviceScaleFactor });
        const page = await context.newPage();
        for (const [name, path] of Object.entries(pages)) {
          await page.goto(base + path);
          await scripted(page);
          if (!["submit", "dry-run"].includes(name)) await page.locator("#live[data-state=on]").waitFor();
          await page.screenshot({ path: `${folder}/page-${name}-${screen}-${colorScheme}.png`, fullPage: screen === "desktop" });
        }
        await context.close();
      }
    }
  },

  // An open page says that the broker is away, and goes on when it is back. The other program cuts it off meanwhile.
  async cut({ open }) {
    const page = await (await open()).newPage();
    await page.goto(`${base}/`);
    await page.locator("#live[data-state=on]").waitFor();
    say("open");
    await shows(page, "The broker is away.", "#banners");
    await page.route(`${base}/`, (route) => route.fulfill({ status: 502, body: "bad gateway" }));
    await page.locator("#live", { hasText: "error 502, data" }).waitFor();
    await shows(page, "The broker is away.", "#banners");
    await page.unroute(`${base}/`);
    say("away");
    await page.locator("#banners").getByText("The broker is away.").waitFor({ state: "detached" });
  },

  // While the store is away an open list keeps what it shows, and tells how old that is.
  async storeless({ open }) {
    const id = await submit(base, 1);
    const page = await (await open()).newPage();
    await page.goto(`${base}/requests`);
    await page.locator("#live[data-state=on]").waitFor();
    say("open");
    await shows(page, "The store is away.", "#banners");
    await page.locator("#live", { hasText: "store away, data" }).waitFor();
    check(await page.locator(`tr[data-key="${id}"]`).count() === 1, "the rows are gone");
    say("away");
    await page.locator("#live[data-state=on]").waitFor();
    check(await page.locator(`tr[data-key="${id}"]`).count() === 1, "the rows are gone");
  },
};

const { browser, open, mistakes } = await launch();
await scenarios[name]({ open });
check(!mistakes.length, `errors in the browser: ${mistakes.join("\n")}`);
await browser.close();
say("passed");

// The page at `/`: shows times as their reader wants them, follows changes, and listens to the keyboard.
// Without this script every page and every form works all the same.

const REFRESH_INTERVAL = 1000; // at most one refresh in this time
const POLL_INTERVAL = 5000; // without a stream
const CHECK_INTERVAL = 15000; // with a stream, for what it does not tell
const REOPEN_INTERVAL = 5000; // after a stream that the browser has given up
const BEAT_INTERVAL = 4000; // the tab that holds the stream says so to the others
const BEAT_TIMEOUT = 13000;

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Times

const zone = $("#zone");
const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not allowed: it is not kept */ } };
zone.value = ["local", "utc", "relative"].includes(stored("slowlane-times")) ? stored("slowlane-times") : "local";
zone.closest("label").hidden = false;

const pad = (number, digits = 2) => String(number).padStart(digits, "0");

function absolute(at, isUtc, withYear) {
  const get = (what) => at[(isUtc ? "getUTC" : "get") + what]();
  const now = new Date();
  const isToday = !isUtc ? at.toDateString() === now.toDateString() : at.toISOString().slice(0, 10) === now.toISOString().slice(0, 10);
  const clock = `${pad(get("Hours"))}:${pad(get("Minutes"))}:${pad(get("Seconds"))}`;
  const day = `${pad(get("Month") + 1)}-${pad(get("Date"))}`;
  if (withYear) return `${get("FullYear")}-${day} ${clock}.${pad(get("Milliseconds"), 3)}`;
  return isToday ? clock : `${day} ${clock}`;
}

function relative(at) {
  const seconds = Math.round((Date.now() - at) / 1000);
  const ahead = seconds < 0;
  const all = Math.abs(seconds);
  const text = all < 60 ? `${all} s` : all < 3600 ? `${Math.floor(all / 60)} min` : all < 86400
    ? `${Math.floor(all / 3600)} h ${Math.floor(all % 3600 / 60)} min` : `${Math.floor(all / 86400)} d ${Math.floor(all % 86400 / 3600)} h`;
  return ahead ? `in ${text}` : `${text} ago`;
}

function showTimes(root) {
  for (const time of $$("time", root)) {
    const at = new Date(time.dateTime);
    const isUtc = zone.value === "utc";
    const text = time.dataset.as === "age" || (zone.value === "relative" && time.dataset.as !== "axis") ? relative(at)
      : time.dataset.as === "axis" ? absolute(at, isUtc, false).slice(0, -3) : absolute(at, isUtc, false);
    if (time.textContent !== text) time.textContent = text;
    const title = `${absolute(at, isUtc, true)} ${isUtc ? "UTC" : "local time"}`;
    if (time.title !== title) time.title = title;
  }
}

zone.addEventListener("change", () => { store("slowlane-times", zone.value); showTimes(document); });
addEventListener("storage", (event) => {
  if (event.key === "slowlane-times" && event.newValue) { zone.value = event.newValue; showTimes(document); }
});
setInterval(() => { if (!document.hidden) showTimes(document); }, 1000);

// Changes a part of the document into another one, touching only what differs: focus, selection and scrolling stay.

const keyOf = (node) => node.nodeType === 1 ? node.dataset.key || node.id || "" : "";
const isSame = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
const OWN = new Set(["open", "aria-selected", "class"]);
// What this script has added, and what is said once, is not in the fresh page.
const isOwn = (node) => node.nodeType === 1 && node.matches(".copy, .done");

function morph(from, to) {
  if (from.nodeType !== 1) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  if (from.matches("[data-keep], input, select, textarea, dialog")) return;
  // The next page begins after the last row that is shown.
  if (keptRows && from.matches("nav.pages")) return;
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !OWN.has(name) && !from.dataset.own?.includes(name)) from.removeAttribute(name);
  if (from.matches("tbody") && from.closest("[data-list]") && from.rows.length) return morphRows(from, to);
  let next = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    let found = next;
    while (found && !isSame(found, wanted)) found = found.nextSibling;
    if (!found) {
      from.insertBefore(document.importNode(wanted, true), next);
      continue;
    }
    while (next !== found) { const gone = next; next = next.nextSibling; if (!isOwn(gone)) gone.remove(); }
    next = found.nextSibling;
    morph(found, wanted);
  }
  while (next) { const gone = next; next = next.nextSibling; if (!isOwn(gone)) gone.remove(); }
}

// Rows of a list change in place. New ones wait until they are asked for, and those that belong there no more stay, dimmed.
let waiting = 0, keptRows = false;

function morphRows(from, to) {
  keptRows = true;
  const wanted = new Map([...to.rows].map((row) => [row.dataset.key, row]));
  for (const row of from.rows) {
    const now = wanted.get(row.dataset.key);
    row.classList.toggle("gone", !now);
    if (now) morph(row, now);
    wanted.delete(row.dataset.key);
  }
  // An older one is new here when it has just failed, or ended. What follows the last row may belong to the next page.
  const last = [...from.rows].at(-1).dataset.key;
  const isWhole = !$("nav.pages [rel=next]");
  const count = [...wanted.keys()].filter((key) => isWhole || key > last).length;
  const news = $("#news");
  if (!news || count === waiting) return;
  waiting = count;
  news.hidden = !count;
  news.textContent = `${count === to.rows.length ? `${count} or more` : count} new`;
  if (count) announce(news.textContent);
}

let announced = 0;
function announce(text) {
  if (Date.now() - announced < 10000) return;
  announced = Date.now();
  $("#announce").textContent = text;
}

document.addEventListener("click", (event) => { if (event.target.id === "news") location.reload(); });

// Refreshes the page from the server.

const live = $("#live");
let lastGood = Date.now();
let busy = false, again = false, lastRefresh = 0;

function say(state, text) {
  if (live.dataset.state !== state) live.dataset.state = state;
  if (live.textContent !== text) live.textContent = text;
}

async function refresh() {
  if (document.hidden || $("dialog[open]:not(#help)")) return;
  if (busy) { again = true; return; }
  busy = true;
  await new Promise((done) => setTimeout(done, Math.max(0, lastRefresh + REFRESH_INTERVAL - Date.now())));
  lastRefresh = Date.now();
  try {
    const url = new URL(location.href);
    url.searchParams.delete("done");
    const response = await fetch(url, { cache: "no-cache", signal: AbortSignal.timeout(15000) });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    showTimes(fresh);
    // What a proxy answers has none, and says nothing about them.
    const banners = $("#banners", fresh);
    if (banners) morph($("#banners"), banners);
    if (response.ok) {
      lastGood = Date.now();
      keptRows = false;
      morph($("#main"), $("#main", fresh));
      decorate();
      state();
    } else {
      say("lost", `${response.status === 503 ? "store away" : `error ${response.status}`}, data ${ageText()} old`);
    }
  } catch {
    say("lost", `web service away, data ${ageText()} old`);
  }
  busy = false;
  if (again) { again = false; refresh(); }
}

const ageText = () => relative(new Date(lastGood)).replace(" ago", "");

// One stream for all tabs of a browser: it allows six connections to a host. The tab that holds the lock has it, and
// tells the others. Hidden tabs let it go. Without locks (over plain HTTP from another machine) tabs ask every few seconds.

const channel = "BroadcastChannel" in window ? new BroadcastChannel("slowlane-live") : null;
const canShare = channel && navigator.locks;
let stream = null, release = null, waitingForLock = null, lastBeat = 0;

const hasStream = () => stream ? stream.readyState === EventSource.OPEN : Date.now() - lastBeat < BEAT_TIMEOUT;
function state() { hasStream() ? say("on", "live") : say("poll", "every 5 s"); }

// A browser connects again by itself, but not if the answer is no stream, such as the 502 of a proxy.
function open() {
  const opened = stream = new EventSource(document.body.dataset.live);
  opened.addEventListener("open", () => { beat(); state(); });
  opened.addEventListener("changed", () => { channel.postMessage("changed"); refresh(); });
  opened.addEventListener("error", () => {
    state();
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => { if (stream === opened) open(); }, REOPEN_INTERVAL);
  });
}

function beat() { if (stream?.readyState === EventSource.OPEN) channel.postMessage("beat"); }

function join() {
  if (!canShare || waitingForLock) return;
  waitingForLock = new AbortController();
  const held = () => new Promise((done) => { release = done; open(); });
  navigator.locks.request("slowlane-live", { signal: waitingForLock.signal }, held).catch(() => { /* hidden meanwhile */ });
}

function leave() {
  waitingForLock?.abort();
  waitingForLock = null;
  stream?.close();
  stream = null;
  release?.();
  release = null;
}

channel?.addEventListener("message", ({ data }) => {
  lastBeat = Date.now();
  data === "changed" ? refresh() : state();
});

if ($("#main [data-still]") === null) {
  const visible = () => {
    if (document.hidden) return leave();
    join();
    refresh();
  };
  document.addEventListener("visibilitychange", visible);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) visible(); });
  setInterval(beat, BEAT_INTERVAL);
  setInterval(() => { if (!hasStream()) refresh(); }, POLL_INTERVAL);
  setInterval(refresh, CHECK_INTERVAL);
  setInterval(() => { if ($("[data-busy]")) refresh(); }, REFRESH_INTERVAL);
  if (!document.hidden) join();
  setTimeout(() => { if (live.dataset.state === "off") state(); }, 2000);
} else {
  live.hidden = true;
}

// What was done just now is said once.
if (new URLSearchParams(location.search).has("done")) {
  const url = new URL(location.href);
  url.searchParams.delete("done");
  history.replaceState(null, "", url);
}

// Questions before what can't be undone.

let confirmed = null;
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm || confirmed === form) return;
  event.preventDefault();
  const dialog = $("#confirm");
  $("#confirm-title").textContent = form.dataset.confirm;
  dialog.returnValue = "no";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "yes") return;
    confirmed = form;
    form.requestSubmit(event.submitter);
  }, { once: true });
  dialog.showModal();
});

// Copies.

function decorate() {
  if (!navigator.clipboard) return;
  for (const place of $$("[data-copy]")) {
    const isBlock = place.matches("pre");
    if ((isBlock ? $(".copy", place) : place.nextElementSibling?.matches(".copy"))) continue;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "copy" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText((isBlock ? $("code", place) : place).textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    isBlock ? place.prepend(button) : place.after(button);
  }
}

// The keyboard.

const rows = () => $$("main tbody tr[data-key]").filter((row) => $("a", row));
function select(step) {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
  const next = all[Math.min(all.length - 1, Math.max(0, now < 0 ? 0 : now + step))];
  all[now]?.removeAttribute("aria-selected");
  next.setAttribute("aria-selected", "true");
  next.scrollIntoView({ block: "nearest" });
  $("td a", next)?.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const chosen = $("tr[aria-selected=true]");
  const keys = {
    "/": () => $(".find input").focus(),
    "?": () => $("#help").showModal(),
    j: () => select(1),
    k: () => select(-1),
    x: () => $("input[type=checkbox]", chosen ?? document.createElement("tr"))?.click(),
  };
  const action = keys[event.key] ?? ($(`[data-hotkey="${CSS.escape(event.key)}"]`) && (() => $(`[data-hotkey="${CSS.escape(event.key)}"]`).click()));
  if (!action) return;
  event.preventDefault();
  action();
});

showTimes(document);
decorate();

// The one event stream of this page: opened, watched, closed while nobody looks, opened again.

import { whoAmI } from "./rest.js";

/** A tab hidden this long gives its connection back; browsers have only six per host. */
export const HIDDEN_MS = 60_000;
/** How often to ask whether the session and the connection still live: a dead link may look open for hours. */
export const PROBE_MS = 60_000;
/** Waits before opening again, the last one for ever. */
const RETRY_MS = [500, 1_000, 2_000, 5_000, 10_000];

/**
 * Keeps the stream open. `on.summary(summary)` for each event, `on.state(…)` with "live", "reconnecting",
 * "refused" (the admin answers, but gives no stream) or "paused" when that changes, `on.signedOut()` once the
 * session has ended. Gives a function that stops it all.
 */
export function startLive(on) {
  let source = null;
  let retry = null;
  let hidden = null;
  let failures = 0;
  let stopped = false;

  function close() {
    clearTimeout(retry);
    retry = null;
    source?.close();
    source = null;
  }

  function open() {
    close();
    if (stopped) return;
    const mine = new EventSource("/v1/stream");
    source = mine;
    mine.addEventListener("summary", (event) => {
      if (source !== mine) return;
      failures = 0;
      on.summary(JSON.parse(event.data));
      on.state("live");
    });
    mine.addEventListener("error", () => {
      if (source === mine) broken(mine.readyState === EventSource.CLOSED);
    });
  }

  // `answered`: there was an answer, but no stream. That may be the end of the session.
  async function broken(answered) {
    close();
    on.state("reconnecting");
    const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    failures += 1;
    retry = setTimeout(open, wait);
    if (answered && (await probe()) && source === null && retry !== null) on.state("refused");
  }

  // Whether the admin answers and the session still holds.
  async function probe() {
    try {
      const who = await whoAmI();
      if (who === null && !stopped) on.signedOut();
      return who !== null;
    } catch {
      // The stream says it is open but the admin is gone: begin again.
      if (!stopped && source !== null) broken(false);
      return false;
    }
  }

  function pause() {
    close();
    on.state("paused");
  }

  function seen() {
    clearTimeout(hidden);
    hidden = null;
    if (document.visibilityState === "hidden") {
      hidden = setTimeout(pause, HIDDEN_MS);
    } else if (source === null) {
      failures = 0;
      on.state("reconnecting");
      open();
    }
  }

  const probing = setInterval(() => {
    if (source !== null) probe();
  }, PROBE_MS);
  const listening = [
    [document, "visibilitychange", seen],
    [window, "focus", seen],
    [window, "online", seen],
    [window, "pageshow", seen],
    [window, "pagehide", pause],
  ];
  for (const [target, name, f] of listening) target.addEventListener(name, f);
  open();

  return () => {
    stopped = true;
    clearTimeout(hidden);
    clearInterval(probing);
    for (const [target, name, f] of listening) target.removeEventListener(name, f);
    close();
  };
}

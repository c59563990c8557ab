// What the page remembers of the summaries it has seen: calls per second, recent failures, how long a
// proxy has been behind. Pure: the caller passes the time in milliseconds.

/** How far back samples go. */
export const WINDOW_MS = 120_000;
/** Failures within this time are a problem worth showing. */
export const FAILURES_MS = 60_000;
/** The admin sends at most one summary a second; silence longer than this means that nothing moves. */
const QUIET_MS = 3_500;

export const emptyHistory = () => ({ samples: [], behindSince: {} });

/** The history with one more summary. */
export function remember(history, summary, now) {
  const engines = {};
  for (const e of summary.engines ?? []) {
    const s = e.status ?? {};
    engines[e.name] = { calls: s.calls ?? 0, failures: s.failures ?? 0, inUse: s.in_use ?? 0, limited: s.slots > 0 };
  }
  const samples = history.samples.filter((s) => now - s.at <= WINDOW_MS);
  samples.push({ at: now, engines });
  const behindSince = {};
  for (const p of summary.proxies ?? []) {
    if (p.state === "behind") behindSince[p.name] = history.behindSince[p.name] ?? now;
  }
  return { samples, behindSince };
}

/** Calls per second of one engine, or of all without a name. */
export function callsPerSecond(history, now, name) {
  const s = history.samples;
  if (s.length < 2 || now - s[s.length - 1].at > QUIET_MS) return 0;
  // Over about five seconds: single seconds jump too much to be read.
  const last = s[s.length - 1];
  let i = s.length - 2;
  while (i > 0 && last.at - s[i].at < 5_000) i -= 1;
  const seconds = (last.at - s[i].at) / 1000;
  return seconds > 0 ? grown(s[i], last, "calls", name) / seconds : 0;
}

/** Failures of an engine within the last minute, as far as this page saw them. */
export function recentFailures(history, now, name) {
  const s = history.samples.filter((x) => now - x.at <= FAILURES_MS);
  let sum = 0;
  for (let i = 1; i < s.length; i += 1) sum += grown(s[i - 1], s[i], "failures", name);
  return sum;
}

// Counters start again when a proxy restarts or leaves: what shrinks counts as no growth.
function grown(from, to, field, name) {
  const names = name === undefined ? Object.keys(to.engines) : [name];
  let sum = 0;
  for (const n of names) {
    const [a, b] = [from.engines[n], to.engines[n]];
    if (a && b) sum += Math.max(0, b[field] - a[field]);
  }
  return sum;
}

/**
 * `points` figures for a sparkline, oldest first, over the window that ends now: what `of` gives for the
 * newest sample at each moment; null before the first.
 */
export function series(history, now, points, of) {
  const step = WINDOW_MS / points;
  const out = [];
  let i = -1;
  for (let p = points - 1; p >= 0; p -= 1) {
    const until = now - p * step;
    while (i + 1 < history.samples.length && history.samples[i + 1].at <= until) i += 1;
    out.push(i < 0 ? null : of(history.samples[i], i));
  }
  return out;
}

/** Slots in use over all engines that have slots, for `series`. */
export const inUse = (sample) => Object.values(sample.engines).reduce((n, e) => n + (e.limited ? e.inUse : 0), 0);

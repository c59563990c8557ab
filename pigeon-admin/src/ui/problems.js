// What needs attention, worst first. Pure: a summary, the history and the time in; a list out.

import { ago, count, plural, reasonInWords, sharesOf } from "./words.js";
import { recentFailures } from "./history.js";

/** A proxy may need a moment to follow; only longer is worth a line. */
const BEHIND_MS = 5_000;

/**
 * Every problem as `{key, level: "bad" | "warn", title, why, age, next}`. `age` changes with time and is
 * apart from `why`, so that a screen reader is not told the same problem again each second.
 */
export function problems(summary, history, now, receivedAt = now) {
  const list = [
    ...proxyProblems(summary, history, now, now - receivedAt),
    ...engineProblems(summary, history, now),
  ];
  return list.sort((a, b) => (a.level === b.level ? 0 : a.level === "bad" ? -1 : 1));
}

function proxyProblems(summary, history, now, since) {
  const proxies = summary.proxies ?? [];
  const connected = proxies.filter((p) => p.connected);
  if (connected.length === 0) return [nothingConnected(proxies)];
  return proxies.flatMap((p) => {
    if (!p.connected) return [disconnected(p, since)];
    return [
      ...(p.rejected ?? []).map((r) => refused(p, r)),
      ...behind(p, summary, history, now),
    ];
  });
}

function nothingConnected(proxies) {
  const known = proxies.length > 0;
  return {
    key: "no-proxy",
    level: "bad",
    title: known ? `None of ${plural(proxies.length, "proxy", "proxies")} is connected` : "No proxy is connected",
    why: known
      ? "A proxy that still runs keeps serving what it last received, but no change reaches it. See that the proxies run and reach this admin's gRPC port."
      : "The configuration is kept here, but nothing serves calls yet. Start a proxy:",
    next: [known ? "pigeon-ctl proxy list" : startProxy()],
  };
}

/** How a proxy is started against the admin this page came from. Its gRPC port is known only beside the usual 9800. */
export function startProxy(page = globalThis.location) {
  const host = `${page?.hostname || "127.0.0.1"}:${(page?.port ?? "9800") === "9800" ? "9801" : "GRPC_PORT"}`;
  return `pigeon-proxy --admin http://${host} --token-file DATA_DIR/proxy.token --state-dir ./proxy-state`;
}

function disconnected(p, since) {
  const effective = p.effective_revision ?? p.revision;
  return {
    key: `proxy/${p.name}`,
    level: "bad",
    title: `Proxy ${p.name} is disconnected`,
    why: `While it runs it keeps serving revision ${effective}; changes do not reach it. See that its process runs and that it reaches this admin's gRPC port.`,
    age: p.last_ack_age_ms == null ? undefined : `last heard of ${ago(p.last_ack_age_ms + since)}`,
    next: [`pigeon-ctl proxy get ${p.name}`],
  };
}

function refused(p, r) {
  const object = `${r.kind}/${r.name}`;
  const instead = r.serving_mod_revision > 0
    ? `It goes on serving the ${r.kind} as of revision ${r.serving_mod_revision}.`
    : `It does not serve this ${r.kind} at all.`;
  return {
    key: `refused/${p.name}/${object}`,
    level: "bad",
    title: `Proxy ${p.name} refuses ${object} of revision ${r.mod_revision}`,
    why: `It says: ${sentence(r.message)} ${instead}`,
    code: r.code,
    next: [`pigeon-ctl ${r.kind} get ${r.name}`, `pigeon-ctl proxy get ${p.name}`],
  };
}

function behind(p, summary, history, now) {
  const since = history.behindSince[p.name];
  if (p.state !== "behind" || since === undefined || now - since < BEHIND_MS) return [];
  return [{
    key: `behind/${p.name}`,
    level: "warn",
    title: `Proxy ${p.name} is ${plural(p.lag, "revision")} behind`,
    why: `It serves revision ${p.effective_revision}, the newest is ${summary.revision}.`,
    next: [`pigeon-ctl proxy get ${p.name}`],
  }];
}

function engineProblems(summary, history, now) {
  const routes = summary.routes ?? [];
  return (summary.engines ?? []).flatMap((e) => {
    const all = [withoutEndpoints(e, routes), idle(e, routes), full(e), failing(e, recentFailures(history, now, e.name))];
    return all.filter(Boolean);
  });
}

function withoutEndpoints(e, routes) {
  if ((e.spec?.endpoints ?? []).length > 0) return null;
  const used = usersOf(e, routes);
  return {
    key: `endpoints/${e.name}`,
    level: used.length ? "bad" : "warn",
    title: `Engine ${e.name} has no endpoints`,
    why: used.length
      ? `Calls of ${names("route", used)} are answered with an error: there is nowhere to send them.`
      : "No route leads to it yet.",
    next: [`pigeon-ctl engine set ${e.name} --static HOST:PORT`],
  };
}

const usersOf = (e, routes) => routes.filter((r) => sharesOf(r.spec).some((s) => s.engine === e.name)).map((r) => r.name);

/** Endpoints that get no calls though they should; or none gets any, for whatever reason. */
function idle(e, routes) {
  const configured = new Set((e.spec?.endpoints ?? []).map((p) => p.address));
  const endpoints = (e.status?.endpoints ?? []).filter((p) => configured.has(p.address));
  const down = endpoints.filter((p) => p.state === "ejected" || p.state === "unhealthy");
  const drained = endpoints.filter((p) => !down.includes(p) && (p.drain || p.state === "draining"));
  const none = endpoints.length > 0 && down.length + drained.length === endpoints.length;
  // Where proxies do not agree, some of them still send calls.
  const disputed = down.length > 0 && down.every((p) => p.proxies?.length > 0);
  const nowhere = none && !down.some((p) => p.proxies?.length > 0);
  if (down.length === 0 && !(none && usersOf(e, routes).length > 0)) return null;
  return {
    key: `idle/${e.name}`,
    level: nowhere ? "bad" : "warn",
    title: nowhere
      ? `No endpoint of engine ${e.name} gets calls`
      : `${count(down.length)} of ${plural(endpoints.length, "endpoint")} of engine ${e.name} ${down.length === 1 ? "gets" : "get"} no calls${disputed ? " of some proxies" : ""}`,
    why: told(nowhere ? [...down, ...drained] : down),
    next: [`pigeon-ctl engine endpoints ${e.name}`],
  };
}

function told(endpoints) {
  const one = (p) => {
    if (p.state !== "ejected" && p.state !== "unhealthy") return `${p.address} is set to drain.`;
    return `${p.address} is ${p.state}: ${sentence(reasonInWords(p))}`;
  };
  const more = endpoints.length > 3 ? ` And ${endpoints.length - 3} more.` : "";
  return endpoints.slice(0, 3).map(one).join(" ") + more;
}

function full(e) {
  const s = e.status ?? {};
  if (!(s.slots > 0) || s.in_use < s.slots || !(s.waiting > 0)) return null;
  return {
    key: `full/${e.name}`,
    level: "warn",
    title: `Engine ${e.name} is full`,
    why: `All ${count(s.slots)} slots are taken and calls are waiting. Add endpoints, or slots if the engine can carry more.`,
    age: `${plural(s.waiting, "call")} waiting`,
    next: [`pigeon-ctl engine get ${e.name}`],
  };
}

function failing(e, failures) {
  if (!failures) return null;
  return {
    key: `failing/${e.name}`,
    level: "warn",
    title: `Calls to engine ${e.name} fail`,
    why: "They failed in the gateway or on the way to the engine: an endpoint refuses connections, hangs or breaks off.",
    age: `${plural(failures, "failure")} in the last minute`,
    next: [`pigeon-ctl engine get ${e.name}`],
  };
}

function names(kind, list) {
  const shown = list.slice(0, 3).join(", ");
  const more = list.length > 3 ? ` and ${list.length - 3} more` : "";
  return `${list.length === 1 ? kind : `${kind}s`} ${shown}${more}`;
}

function sentence(text) {
  const t = String(text ?? "").trim() || "no reason given";
  return /[.!?]$/.test(t) ? t : `${t}.`;
}

/** The problems in one line, for the live region; without figures that change each second. */
export function announcement(list) {
  if (list.length === 0) return "No problems.";
  const told = list.slice(0, 5).map((p) => `${p.title}.`);
  return `${plural(list.length, "problem")}: ${told.join(" ")}`;
}

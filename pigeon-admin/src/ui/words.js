// Numbers, times and configuration in words. Pure: no DOM, no clock.

/** "1 route", "2 routes". */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** 12345 → "12,345"; from ten million on "12.3 M". */
export function count(n) {
  if (!Number.isFinite(n)) return "–";
  if (n >= 1e10) return `${(n / 1e9).toFixed(1)} G`;
  if (n >= 1e7) return `${(n / 1e6).toFixed(1)} M`;
  return n.toLocaleString("en");
}

/** Calls per second, short: "0", "0.4", "12", "1,204". */
export function rate(perSecond) {
  if (!(perSecond > 0)) return "0";
  if (perSecond < 0.05) return "<0.1";
  return perSecond < 9.95 ? perSecond.toFixed(1).replace(/\.0$/, "") : count(Math.round(perSecond));
}

/** Milliseconds as at most two units: "4 s", "3 min", "2 h 11 min", "5 d 3 h". */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min`;
  const h = Math.floor(min / 60);
  if (h < 24) return min % 60 ? `${h} h ${min % 60} min` : `${h} h`;
  const d = Math.floor(h / 24);
  return h % 24 && d < 10 ? `${d} d ${h % 24} h` : `${d} d`;
}

/** Milliseconds to about two digits: "0.06 ms", "81 ms", "1.2 s". */
export function fine(ms) {
  if (ms < 9.95) return `${ms.toFixed(ms < 0.995 ? 2 : 1)} ms`;
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 9_950 ? 1 : 0)} s`;
}

/** How long ago, for a person. */
export const ago = (ms) => (ms < 2000 ? "just now" : `${duration(ms)} ago`);

/**
 * Which calls a route takes, in words: a tag (gRPC, HTTP, any) and parts; a part is plain text or
 * `{code}` for what stands so in the configuration.
 */
export function matchInWords(match) {
  const m = match ?? {};
  const methods = m.methods ?? [];
  const parts = [];
  let tag = "HTTP";
  if (m.grpc) {
    tag = "gRPC";
    const [service, method] = m.grpc.split("/");
    parts.push(...(method
      ? ["method ", { code: method }, " of ", { code: service }]
      : ["every method of ", { code: service }]));
  } else if (m.path) {
    if (methods.length) parts.push({ code: methods.join(", ") }, " on ");
    parts.push(...pathInWords(m.path));
  } else if (methods.length) {
    parts.push({ code: methods.join(", ") }, " on every path");
  } else {
    tag = "any";
    parts.push("every call");
  }
  if (m.host) parts.push(" for ", ...hostInWords(m.host));
  if (m.listener) parts.push(" on listener ", { code: m.listener });
  return { tag, parts };
}

function pathInWords(path) {
  if (!path.endsWith("*")) return ["exactly ", { code: path }];
  const prefix = path.slice(0, -1).replace(/\/+$/, "");
  return prefix ? [{ code: prefix }, " and everything below"] : ["every path"];
}

function hostInWords(host) {
  return host.startsWith("*.") ? ["every host under ", { code: host.slice(2) }] : ["host ", { code: host }];
}

/** The same as one line of text. */
export function matchText(match) {
  const { tag, parts } = matchInWords(match);
  const text = parts.map((p) => (typeof p === "string" ? p : p.code)).join("");
  return tag === "any" ? text : `${tag} ${text}`;
}

const DONE = { create: "created", add: "added", update: "changed", change: "changed", replace: "changed", delete: "removed", remove: "removed" };

/** The changes of a revision, those of one sort together: `{verb: "created", kind: "route", names}`. */
export function changesInWords(changes) {
  const groups = new Map();
  for (const c of changes ?? []) {
    const verb = DONE[c.action] ?? DONE[c.op] ?? c.action ?? c.op ?? "changed";
    const key = `${verb} ${c.kind}`;
    if (!groups.has(key)) groups.set(key, { verb, kind: c.kind, names: [] });
    groups.get(key).names.push(c.name);
  }
  return [...groups.values()];
}

/** The engines of a route with their shares in percent, the one that gets the rest first: `[{engine, percent}]`;
    none of a route that answers by itself. */
export function sharesOf(spec) {
  if (spec?.redirect || spec?.answer) return [];
  const split = spec?.split ?? [];
  return [{ engine: spec?.engine, percent: 100 - split.reduce((n, s) => n + s.percent, 0) }, ...split];
}

/** What a route does that has no engine: `redirect /new*`, `answer 503`; empty where it has one. */
export function ownInWords(spec) {
  const { redirect: r, answer: a } = spec ?? {};
  if (a) return `answer ${a.status ?? a.grpc_status ?? 200}`;
  if (!r) return "";
  const place = r.host || r.port ? `//${r.host ?? ""}${r.port ? `:${r.port}` : ""}` : "";
  return `redirect ${r.scheme ? `${r.scheme}:` : ""}${place}${r.path ?? ""}`;
}

/** Why an endpoint is as it is, with who says so where the proxies do not agree; empty where there is nothing to say. */
export function reasonInWords(endpoint) {
  const views = endpoint.proxies ?? [];
  const alike = views.filter((v) => v.state === endpoint.state).map((v) => v.proxy);
  const who = views.length ? `${alike.length} of ${plural(views.length, "proxy", "proxies")}: ${alike.slice(0, 3).join(", ")}${alike.length > 3 ? " …" : ""}` : "";
  const why = endpoint.reason ?? "";
  return why && who ? `${why} (${who})` : why || who;
}

/** How an engine hands out slots, in words; `proxies`: how many hand them out, each for itself. */
export function poolInWords(pool, proxies = 1) {
  if (!pool || pool.mode === "off" || !pool.mode) return "no slot limit";
  const queue = pool.queue > 0 ? `, ${count(pool.queue)} may wait up to ${pool.queue_timeout}` : ", nobody waits";
  return `${pool.mode}, ${plural(pool.slots, "slot")} per endpoint${proxies > 1 ? " and proxy" : ""}${queue}`;
}

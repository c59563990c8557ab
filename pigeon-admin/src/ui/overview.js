// The first page: everything at a glance, live.

import { useEffect, useReducer, useRef, useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { Announcer, FirstSteps, Problems } from "./attention.js";
import { Changes } from "./changes.js";
import { Engines } from "./engines.js";
import { callsPerSecond, inUse, recentFailures, series } from "./history.js";
import { Field, Spark, Status } from "./parts.js";
import { problems } from "./problems.js";
import { Proxies } from "./proxies.js";
import { Routes } from "./routes.js";
import { ago, count, duration, matchText, plural, rate, sharesOf } from "./words.js";

/** Points of a sparkline: one per three seconds of its two minutes. */
const POINTS = 40;
/** A page with fewer rows than this needs no filter. */
const FILTER_FROM = 8;

/** The page of somebody signed in. `live` is `{summary, history, receivedAt, state}`. */
export function Overview({ who, live, onSignOut }) {
  const now = useClock();
  const { summary, history, receivedAt, state } = live;
  const bar = html`<${Top} who=${who} summary=${summary} state=${state} age=${now - receivedAt} onSignOut=${onSignOut} />`;
  if (!summary) {
    const why = {
      reconnecting: "The admin does not answer. Trying again …",
      refused: "The admin answers but gives no event stream: too many pages may be open. Close some; this one tries again.",
    };
    return html`${bar}<main class="page"><p class="starting">${why[state] ?? "Waiting for the first summary …"}</p></main>`;
  }
  const list = problems(summary, history, now, receivedAt);
  const fresh = summary.engines.length === 0 || summary.routes.length === 0;
  return html`${bar}<main class="page">
    <h1 class="unseen">Overview</h1>
    <${Announcer} list=${list} />
    ${fresh && html`<${FirstSteps} summary=${summary} />`}
    ${!(fresh && onlyNoProxy(list, summary)) && html`<${Problems} list=${list} summary=${summary} stale=${state !== "live"} />`}
    ${summary.engines.length > 0 && html`<${Figures} summary=${summary} history=${history} now=${now} />`}
    <${Tables} summary=${summary} history=${history} now=${now} since=${now - receivedAt} />
  </main>
  <footer class="page-foot">Pigeon ${summary.version} · <a href="/openapi.json">REST API</a> · the same in a terminal: <code>pigeon-ctl status</code></footer>`;
}

// The first steps already say that a proxy must be started.
const onlyNoProxy = (list, summary) =>
  list.length === 0 || (list.length === 1 && list[0].key === "no-proxy" && summary.proxies.length === 0);

/** The time, once a second while somebody looks. */
function useClock() {
  const [, tick] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || tick(), 1000);
    return () => clearInterval(timer);
  }, []);
  // Not the time of the tick: a render for another reason must not see a time before its data.
  return Date.now();
}

function Top({ who, summary, state, age, onSignOut }) {
  const jump = [["engines", "Engines"], ["routes", "Routes"], ["proxies", "Proxies"], ["changes", "Changes"]];
  return html`<header class="top">
    <a class="skip" href="#engines">Skip to the tables</a>
    <a class="brand" href="#top" aria-label="Pigeon, to the top"><img src="icon.svg" alt="" width="26" height="26" />Pigeon</a>
    <nav aria-label="On this page">${summary && jump.map(([id, title]) => html`<a href="#${id}" key=${id}>${title}</a>`)}</nav>
    <${Link} state=${state} age=${summary ? age : null} />
    <span class="who" title="signed in as ${who.name}, role ${who.role}">${who.name}</span>
    <button type="button" class="quiet" onClick=${onSignOut}>Sign out</button>
  </header>`;
}

/** Whether what the page shows is live, and how old it is if not. */
function Link({ state, age }) {
  const words = {
    live: ["ok", "Live"], connecting: ["busy", "Connecting"], reconnecting: ["busy", "Reconnecting"],
    refused: ["bad", "No stream"], paused: ["off", "Paused"],
  };
  const [level, word] = words[state];
  const old = age === null ? null : state === "live" ? `changed ${ago(age)}` : `data ${duration(age)} old`;
  const detail = [state === "refused" && "too many open pages?", old].filter(Boolean).join(", ");
  return html`<span class="link ${state}" id="link"><${Status} level=${level}>${word}<//>${detail && html`<small>${detail}</small>`}</span>`;
}

function Figures({ summary, history, now }) {
  const connected = summary.proxies.filter((p) => p.connected);
  const serving = connected.filter((p) => p.effective_revision >= summary.revision).length;
  const sum = (field) => summary.engines.reduce((n, e) => n + (e.status?.[field] ?? 0), 0);
  const [slots, waiting, calls, failures] = ["slots", "waiting", "calls", "failures"].map(sum);
  const newest = history.samples[history.samples.length - 1];
  const failing = summary.engines.some((e) => recentFailures(history, now, e.name) > 0);
  const perSecond = series(history, now, POINTS, (s, i) =>
    callsPerSecond({ samples: history.samples.slice(Math.max(0, i - 6), i + 1) }, s.at));
  return html`<dl class="figures">
    <${Figure} name="Revision" value=${count(summary.revision)}
      note=${connected.length ? `served by ${serving} of ${plural(connected.length, "proxy", "proxies")}` : "served by nobody"} />
    <${Figure} name="Slots in use" value=${count(inUse(newest))} unit=${slots ? ` / ${count(slots)}` : ""}
      note=${waiting ? `${plural(waiting, "call")} waiting` : "no call waiting"} alert=${waiting > 0}>
      <${Spark} values=${series(history, now, POINTS, inUse)} max=${slots} /><//>
    <${Figure} name="Calls per second" value=${rate(callsPerSecond(history, now))}
      note=${`${count(calls)} since the proxies started`}><${Spark} values=${perSecond} /><//>
    <${Figure} name="Failures" value=${count(failures)} alert=${failing}
      note=${failures ? `${share(failures, calls)} of all calls` : "no call failed"} />
  </dl>`;
}

const share = (part, all) => (all > 0 ? `${((100 * part) / all).toPrecision(2)} %` : "–");

const Figure = ({ name, value, unit, note, alert, children }) => html`<div class="card figure">
  <dt>${name}</dt>
  <dd><span class="value">${value}<small>${unit}</small></span><span class="figure-note ${alert ? "alert" : ""}">${note}</span>${children}</dd>
</div>`;

function Tables({ summary, history, now, since }) {
  const [filter, setFilter] = useFilter();
  const { engines, routes, proxies } = summary;
  const q = filter.trim().toLowerCase();
  const fits = (...texts) => !q || texts.some((t) => String(t ?? "").toLowerCase().includes(q));
  const some = {
    engines: engines.filter((e) => fits(e.name, ...(e.spec?.endpoints ?? []).map((p) => p.address))),
    routes: routes.filter((r) => fits(r.name, ...sharesOf(r.spec).map((s) => s.engine), matchText(r.spec?.match))),
    proxies: proxies.filter((p) => fits(p.name, p.state, ...Object.values(p.listen ?? {}))),
  };
  // The admin sends the first thousand of each; `totals` counts all.
  const totals = { engines: engines.length, routes: routes.length, proxies: proxies.length, ...summary.totals };
  const cut = ["engines", "routes", "proxies"].filter((k) => totals[k] > summary[k].length);
  const many = engines.length + routes.length + proxies.length >= FILTER_FROM;
  return html`${(many || q) && html`<${Filter} value=${filter} set=${setFilter} />`}
    ${cut.length > 0 && html`<p class="note">This page has the first ${cut.map((k) => `${count(summary[k].length)} ${k}`).join(", ")}; the lists in the terminal have all.</p>`}
    <div class="columns">
      <div class="column">
        <${Engines} list=${some.engines} total=${totals.engines} filter=${q} proxies=${proxies.filter((p) => p.connected).length} history=${history} now=${now} />
        <${Routes} list=${some.routes} total=${totals.routes} filter=${q} engines=${engines} />
        <${Proxies} list=${some.proxies} total=${totals.proxies} filter=${q} now=${now} since=${since} />
      </div>
      <div class="column side"><${Changes} list=${summary.recent} now=${now} /></div>
    </div>`;
}

function Filter({ value, set }) {
  const box = useRef(null);
  useEffect(() => {
    const key = (event) => {
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        box.current.querySelector("input").focus();
      }
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const escape = (event) => event.key === "Escape" && set("");
  return html`<div class="filter" role="search" ref=${box}>
    <${Field} label="Filter" type="search" value=${value} placeholder="name, address, match …" spellcheck="false"
      onInput=${(event) => set(event.target.value)} onKeyDown=${escape} /><kbd aria-hidden="true">/</kbd>
  </div>`;
}

/** The filter lives in the address, so that a filtered page can be kept and sent. */
function useFilter() {
  const [filter, setFilter] = useState(() => new URLSearchParams(location.search).get("q") ?? "");
  const set = (text) => {
    setFilter(text);
    const query = text ? `?${new URLSearchParams({ q: text })}` : "";
    history.replaceState(null, "", `${location.pathname}${query}${location.hash}`);
  };
  return [filter, set];
}

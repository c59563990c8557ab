// The top of the overview: problems, or that there are none, or the first steps of a new installation.

import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { Cli, Icon, Status } from "./parts.js";
import { announcement, startProxy } from "./problems.js";
import { count, plural } from "./words.js";

/** Problems worst first; rows beyond this many are counted only. */
const SHOWN = 8;

/** The list of problems, or one calm line. */
export function Problems({ list, summary, stale }) {
  if (list.length === 0) {
    const proxies = summary.proxies.length;
    const all = ["", "The proxy serves", "Both proxies serve"][proxies] ?? `All ${count(proxies)} proxies serve`;
    return html`<section class="calm" aria-label="Problems">
      <${Status} level=${stale ? "off" : "ok"}>${stale ? "No problems when last heard" : "No problems"}<//>
      <span>${all} revision ${summary.revision}.</span>
    </section>`;
  }
  const bad = list.filter((p) => p.level === "bad").length;
  return html`<section class="card problems" aria-labelledby="problems-title">
    <h2 id="problems-title" class=${bad ? "bad" : "warn"}><${Icon} name=${bad ? "bad" : "warn"} />${plural(list.length, "problem")}</h2>
    <ul>${list.slice(0, SHOWN).map((p) => html`<${Problem} key=${p.key} ...${p} />`)}</ul>
    ${list.length > SHOWN && html`<p class="more">and ${list.length - SHOWN} more; the tables below show them.</p>`}
  </section>`;
}

const Problem = ({ level, title, why, code, age, next }) => html`<li class=${level}>
  <div>
    <p class="problem-title">
      <${Status} level=${level}>${level === "bad" ? "Broken" : "Warning"}<//>
      <strong>${title}</strong>${age && html`<span class="age">${age}</span>`}
    </p>
    <p class="why">${why}${code && html` <code>${code}</code>`}</p>
  </div>
  <p class="next">${next.map((c) => html`<${Cli} command=${c} />`)}</p>
</li>`;

/** At most one announcement in this time, so that a flapping proxy does not talk without end. */
const QUIET_MS = 5_000;

/** What a screen reader is told when the problems change. */
export function Announcer({ list }) {
  const text = announcement(list);
  const [told, setTold] = useState("");
  const last = useRef(0);
  useEffect(() => {
    const wait = Math.max(100, last.current + QUIET_MS - Date.now());
    const timer = setTimeout(() => {
      last.current = Date.now();
      setTold(text);
    }, wait);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<p class="unseen" id="announcer" aria-live="polite">${told}</p>`;
}

/** From nothing to the first call. */
export function FirstSteps({ summary }) {
  const engine = summary.engines[0]?.name ?? "asr";
  const steps = [
    ["Start a proxy", "It fetches its configuration from this admin and takes the calls.",
      startProxy(), summary.proxies.some((p) => p.connected)],
    ["Add an engine", "The servers that answer calls, and how many calls each takes at once.",
      `pigeon-ctl engine add ${engine} --static HOST:PORT --pool strict --slots 8`, summary.engines.length > 0],
    ["Add a route", "Which calls go to it: a gRPC service, or paths of a site.",
      `pigeon-ctl route add ${engine} --grpc pkg.Service --engine ${engine}`, summary.routes.length > 0],
  ];
  const now = steps.findIndex((s) => !s[3]);
  return html`<section class="card steps" aria-labelledby="steps-title">
    <h2 id="steps-title">Three steps to the first call</h2>
    <ol>${steps.map(([title, what, command, done], i) => html`
      <li class=${done ? "done" : i === now ? "current" : null} key=${title}>
        <p><strong>${title}</strong>${done && html` <${Status} level="ok">done<//>`}</p>
        ${!done && html`<p class="why">${what}</p><${Cli} command=${command} />`}
      </li>`)}</ol>
  </section>`;
}

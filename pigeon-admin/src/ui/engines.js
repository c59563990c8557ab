// Engines: slot use, waiting calls, what ended, and each endpoint.

import { useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { callsPerSecond, recentFailures } from "./history.js";
import { Cell, Empty, RowHead, Section, SlotBar, Status, Table, useLimit } from "./parts.js";
import { count, fine, plural, poolInWords, rate, reasonInWords } from "./words.js";

/** With more endpoints than this in all, they begin folded. */
const UNFOLDED = 16;
const ROWS = 50;
const COLS = [{ title: "Engine" }, { title: "Slots in use" }, { title: "Waiting", num: true },
  { title: "Calls", num: true }, { title: "Failures", num: true }, { title: "First message", num: true }];
const CAPTION = "Engines and their endpoints, summed over the connected proxies; first message: half of the calls " +
  "of the last 10 seconds, and 99 of 100 (p99), had their first response message within this time";
/** The states of an endpoint, as icons. */
const STATES = { healthy: "ok", starting: "busy", draining: "off", ejected: "warn", unhealthy: "bad" };

/** The section; `filter` is the text people typed, `list` what it left, `proxies` how many are connected. */
export function Engines({ list, total, filter, proxies, history, now }) {
  const [folds, setFolds] = useState({});
  const [shown, more] = useLimit(list, ROWS, "engines");
  const endpoints = list.reduce((n, e) => n + endpointsOf(e).length, 0);
  const row = (e) => {
    const open = folds[e.name] ?? endpoints <= UNFOLDED;
    const flip = () => setFolds({ ...folds, [e.name]: !open });
    return html`<${Engine} key=${e.uid ?? e.name} engine=${e} open=${open} flip=${flip} proxies=${proxies} history=${history} now=${now} />`;
  };
  return html`<${Section} id="engines" title="Engines" n=${total} cli="pigeon-ctl engine list">
    ${total === 0 && html`<${Empty} command="pigeon-ctl engine add asr --static HOST:PORT --pool strict --slots 8">
      There is no engine yet, so a route has nowhere to lead. An engine is a set of servers that answer calls.<//>`}
    ${total > 0 && list.length === 0 && html`<${Empty}>No engine fits “${filter}”.<//>`}
    ${list.length > 0 && html`<${Table} caption=${CAPTION} cols=${COLS} bodies>
      ${shown.map(row)}
    <//>`}
    ${more}
  <//>`;
}

function Engine({ engine, open, flip, proxies, history, now }) {
  const s = engine.status ?? {};
  const endpoints = endpointsOf(engine);
  const unlimited = (engine.spec?.pool?.mode ?? "off") === "off";
  const failing = recentFailures(history, now, engine.name) > 0;
  const id = `engine-${engine.name}`;
  return html`<tbody role="rowgroup">
    <tr role="row">
      <${RowHead} id=${id}>
        <span class="name">${engine.name}</span>
        <small>${poolInWords(engine.spec?.pool, proxies)}</small>
        ${endpoints.length === 0
          ? html`<${Status} level="bad">no endpoints<//>`
          : html`<button type="button" class="fold" aria-expanded=${open} onClick=${flip}>${plural(endpoints.length, "endpoint")}</button>`}
      <//>
      <${Cell} label="Slots in use"><${SlotBar} inUse=${s.in_use ?? 0} slots=${s.slots} unlimited=${unlimited} /><//>
      <${Cell} label="Waiting" num><span class=${s.waiting > 0 ? "strong" : "zero"}>${count(s.waiting ?? 0)}</span><//>
      <${Cell} label="Calls" num>${count(s.calls ?? 0)} <small>${rate(callsPerSecond(history, now, engine.name))}/s</small><//>
      <${Cell} label="Failures" num><span class=${failing ? "strong" : s.failures > 0 ? null : "zero"}>${count(s.failures ?? 0)}</span><//>
      <${FirstMessage} ms=${s.first_message_ms} />
    </tr>
    ${open && endpoints.map((p) => html`<${Endpoint} key=${p.address} p=${p} unlimited=${unlimited} />`)}
  </tbody>`;
}

function Endpoint({ p, unlimited }) {
  const reason = reasonInWords(p);
  return html`<tr role="row" class="sub">
    <${RowHead}><code>${p.address}</code>${STATES[p.state] && html` <${Status} level=${STATES[p.state]}>${p.state}<//>`}${notes(p).map((n) => html` <small>${n}</small>`)}
      ${reason && html`<small class="reason">${reason}</small>`}<//>
    <td role="cell" data-label="Slots in use"><${SlotBar} inUse=${p.in_use} slots=${p.slots} unlimited=${unlimited} /></td>
    <td role="cell" class="none"></td>
    <${Cell} label="Calls" num><span class=${p.calls > 0 ? null : "zero"}>${count(p.calls ?? 0)}</span><//>
    <${Cell} label="Failures" num><span class=${p.failures > 0 ? null : "zero"}>${count(p.failures ?? 0)}</span><//>
    <${FirstMessage} ms=${p.first_message_ms} />
  </tr>`;
}

/** Half of the calls were faster, and 99 of 100; without calls there is nothing to tell. */
const FirstMessage = ({ ms }) => html`<${Cell} label="First message" num usual=${!ms}>${ms
  ? html`${fine(ms.p50)} <small>p99 ${fine(ms.p99)}</small>` : html`<span class="zero">–</span>`}<//>`;

function notes(endpoint) {
  if (endpoint.leaving) return ["removed, finishing its calls"];
  return [
    endpoint.weight !== 1 && `weight ${endpoint.weight}`,
    endpoint.drain && endpoint.state !== "draining" && "set to drain",
  ].filter(Boolean);
}

// What the proxies report, joined with what is configured. An endpoint that was removed stays in the
// report until its last call has ended.
function endpointsOf(engine) {
  const configured = new Map((engine.spec?.endpoints ?? []).map((p) => [p.address, p]));
  const reported = (engine.status?.endpoints ?? []).map((r) => ({
    ...r, weight: configured.get(r.address)?.weight ?? 1, leaving: !configured.has(r.address),
  }));
  const missing = [...configured.values()].filter((p) => !reported.some((r) => r.address === p.address));
  return [...reported, ...missing.map((p) => ({ calls: 0, failures: 0, in_use: 0, slots: null, weight: 1, ...p, leaving: false }))];
}

// Engines: slot use, waiting calls, what ended, and each endpoint.

import { useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { callsPerSecond, recentFailures } from "./history.js";
import { Cell, Empty, RowHead, Section, SlotBar, Status, Table, useLimit } from "./parts.js";
import { count, plural, poolInWords, rate } from "./words.js";

/** With more endpoints than this in all, they begin folded. */
const UNFOLDED = 16;
const ROWS = 50;
const COLS = [{ title: "Engine" }, { title: "Slots in use" }, { title: "Waiting", num: true },
  { title: "Calls", num: true }, { title: "Failures", num: true }];

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
    ${list.length > 0 && html`<${Table} caption="Engines and their endpoints, slots summed over the connected proxies" cols=${COLS} bodies>
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
    </tr>
    ${open && endpoints.map((p) => html`<tr role="row" class="sub" key=${p.address}>
      <${RowHead}><code>${p.address}</code>${note(p)}<//>
      <td role="cell" data-label="Slots in use"><${SlotBar} inUse=${p.inUse} slots=${p.slots} unlimited=${unlimited} /></td>
      <td role="cell" class="none" colspan="3"></td>
    </tr>`)}
  </tbody>`;
}

function note(endpoint) {
  if (endpoint.leaving) return html` <small>removed, finishing its calls</small>`;
  return endpoint.weight !== 1 && html` <small>weight ${endpoint.weight}</small>`;
}

// What the proxies report, joined with what is configured. An endpoint that was removed stays in the
// report until its last call has ended.
function endpointsOf(engine) {
  const weights = new Map((engine.spec?.endpoints ?? []).map((p) => [p.address, p.weight ?? 1]));
  const reported = (engine.status?.endpoints ?? []).map((r) => ({
    address: r.address, inUse: r.in_use, slots: r.slots, weight: weights.get(r.address), leaving: !weights.has(r.address),
  }));
  const missing = [...weights].filter(([address]) => !reported.some((r) => r.address === address));
  return [...reported, ...missing.map(([address, weight]) => ({ address, weight, inUse: 0, slots: null, leaving: false }))];
}

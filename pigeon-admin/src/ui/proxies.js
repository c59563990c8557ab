// Proxies: which revision each serves, and what it refuses.

import { html } from "./html.js";
import { Cell, Empty, RowHead, Section, Status, Table, useLimit } from "./parts.js";
import { startProxy } from "./problems.js";
import { ago, duration, plural } from "./words.js";

const ROWS = 50;
const COLS = [{ title: "Proxy" }, { title: "State" }, { title: "Serves", num: true }, { title: "Last ack", num: true },
  { title: "Listens on" }];
const STATES = {
  in_sync: ["ok", "in sync"],
  behind: ["busy", "catching up"],
  rejected: ["bad", "refuses a change"],
  disconnected: ["off", "disconnected"],
};

/** The section; `since` is the age of the summary in milliseconds. */
export function Proxies({ list, total, filter, now, since }) {
  const [shown, more] = useLimit(list, ROWS, "proxies");
  return html`<${Section} id="proxies" title="Proxies" n=${total} cli="pigeon-ctl proxy list">
    ${total === 0 && html`<${Empty} command=${startProxy()}>
      No proxy has ever connected to this admin, so nothing takes calls. A proxy needs the file <code>proxy.token</code> of the admin's data folder:<//>`}
    ${total > 0 && list.length === 0 && html`<${Empty}>No proxy fits “${filter}”.<//>`}
    ${list.length > 0 && html`<${Table} caption="Proxies and the revision each serves" cols=${COLS}>
      ${shown.flatMap((p) => [
        html`<${Proxy} key=${p.node_id ?? p.name} proxy=${p} now=${now} since=${since} />`,
        ...(p.rejected ?? []).map((r) => html`<${Refused} key=${`${p.name}/${r.kind}/${r.name}`} r=${r} />`),
      ])}
    <//>`}
    ${more}
  <//>`;
}

function Proxy({ proxy, now, since }) {
  const [level, word] = STATES[proxy.state] ?? ["off", proxy.state];
  const up = proxy.connected && proxy.connected_at ? now - Date.parse(proxy.connected_at) : null;
  const listens = Object.entries(proxy.listen ?? {});
  return html`<tr role="row">
    <${RowHead}><span class="name">${proxy.name}</span><small>${proxy.version}${up > 0 && `, connected for ${duration(up)}`}</small><//>
    <${Cell} label="State"><${Status} level=${level}>${word}<//>${proxy.source === "lkg" && html` <small>serves its saved copy</small>`}<//>
    <${Cell} label="Serves" num>${proxy.effective_revision ?? proxy.revision}${proxy.lag > 0 && html` <small class="lag">${plural(proxy.lag, "revision")} behind</small>`}<//>
    <${Cell} label="Last ack" num>${proxy.last_ack_age_ms == null
      ? html`<span class="zero">never</span>`
      : html`<time title=${proxy.last_ack_at} dateTime=${proxy.last_ack_at}>${ago(proxy.last_ack_age_ms + since)}</time>`}<//>
    <${Cell} label="Listens on" wide>${listens.length === 0 && html`<span class="zero">nothing</span>`}
      ${listens.map(([name, at]) => html`<span class="listen"><small>${name}</small> <code>${at}</code></span>`)}<//>
  </tr>`;
}

const Refused = ({ r }) => html`<tr role="row" class="refused">
  <td role="cell" colspan="5"><${Status} level="bad">refuses ${r.kind}/${r.name} of revision ${r.mod_revision}:<//>
    ${" "}${r.message} <code>${r.code}</code>${" "}
    <small>${r.serving_mod_revision > 0 ? `serves it as of revision ${r.serving_mod_revision}` : "not served at all"}</small></td>
</tr>`;

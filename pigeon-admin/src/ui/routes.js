// Routes: which calls go to which engine.

import { html } from "./html.js";
import { Cell, Empty, RowHead, Section, Table, useLimit } from "./parts.js";
import { matchInWords, ownInWords, sharesOf } from "./words.js";

const ROWS = 50;
const COLS = [{ title: "Route" }, { title: "Takes" }, { title: "Engine" }, { title: "Priority", num: true },
  { title: "Timeout", num: true }];

/** The section; `engines` are all engines, for the example command. */
export function Routes({ list, total, filter, engines }) {
  const [shown, more] = useLimit(list, ROWS, "routes");
  const engine = engines[0]?.name ?? "ENGINE";
  return html`<${Section} id="routes" title="Routes" n=${total} cli="pigeon-ctl route list">
    ${total === 0 && html`<${Empty} command=${`pigeon-ctl route add NAME --grpc pkg.Service --engine ${engine}`}>
      There is no route yet, so every call is answered with “no route”. A route says which calls go to which engine.<//>`}
    ${total > 0 && list.length === 0 && html`<${Empty}>No route fits “${filter}”.<//>`}
    ${list.length > 0 && html`<${Table} caption="Routes: which calls go to which engine" cols=${COLS}>
      ${shown.map((r) => html`<${Route} key=${r.uid ?? r.name} route=${r} />`)}
    <//>`}
    ${more}
  <//>`;
}

function Route({ route }) {
  const { tag, parts } = matchInWords(route.spec?.match);
  const { priority, timeout, shadow } = route.spec ?? {};
  return html`<tr role="row">
    <${RowHead}><span class="name">${route.name}</span><//>
    <${Cell} label="Takes" wide><span class="tag">${tag}</span> ${parts.map((p) => (typeof p === "string" ? p : html`<code>${p.code}</code>`))}<//>
    <${Cell} label="Engine">${ownInWords(route.spec) || sharesOf(route.spec).map(engineLink)}${shadow && html`<small>copies of ${shadow.percent} % to <a href="#engine-${shadow.engine}">${shadow.engine}</a></small>`}<//>
    <${Cell} label="Priority" num usual=${!priority}><span class=${priority ? null : "zero"}>${priority ?? 0}</span><//>
    <${Cell} label="Timeout" num usual=${!timeout}>${timeout ?? html`<span class="zero">none</span>`}<//>
  </tr>`;
}

// The share stands only where there is more than one.
const engineLink = ({ engine, percent }, i, all) => html`<span class="share"><a href="#engine-${engine}">${engine}</a>${all.length > 1 && html` <small>${percent} %</small>`}</span> `;

// The newest revisions: what changed, by whom, when.

import { html } from "./html.js";
import { Cell, Empty, RowHead, Section, Table, When } from "./parts.js";
import { ago, changesInWords } from "./words.js";

const COLS = [{ title: "Revision", num: true }, { title: "Change" }];
/** Names of one sort of change that are written out. */
const SHOWN = 4;

/** The section. */
export function Changes({ list, now }) {
  return html`<${Section} id="changes" title="Recent changes" cli="pigeon-ctl revision list">
    ${list.length === 0
      ? html`<${Empty}>Nothing has been changed yet. Each write makes a revision, and the newest are listed here.<//>`
      : html`<${Table} caption="The newest revisions of the configuration" cols=${COLS}>
          ${list.map((r) => html`<${Revision} key=${r.revision} r=${r} now=${now} />`)}
        <//>`}
  <//>`;
}

function list(names) {
  const shown = names.slice(0, SHOWN).flatMap((n, i) => [i > 0 && ", ", html`<b>${n}</b>`]);
  return names.length > SHOWN ? [...shown, ` and ${names.length - SHOWN} more`] : shown;
}

function Revision({ r, now }) {
  return html`<tr role="row">
    <${RowHead}>${r.revision}<//>
    <${Cell} label="Change">
      ${changesInWords(r.changes).map((c) => html`<span class="change ${c.verb}">${c.verb} ${c.kind}${c.names.length > 1 && "s"} ${list(c.names)}</span>`)}
      <small>${r.actor}${r.source && r.source !== "unknown" && ` from ${r.source}`}, <${When} at=${r.at} text=${ago(now - Date.parse(r.at))} /></small>
    <//>
  </tr>`;
}

// The small pieces every part of the page is made of.

import { useId, useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { count } from "./words.js";

const ICONS = {
  ok: "M8 1.500a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM5 8.200l2.100 2.100L11.200 6",
  warn: "M8 1.800 15 14H1zM8 6.200v3.600M8 11.700v.4",
  bad: "M5.300 1.500h5.400l3.800 3.800v5.400l-3.800 3.800H5.300l-3.800-3.800V5.300zM5.800 5.800l4.400 4.400M10.200 5.800l-4.400 4.400",
  off: "M8 1.500a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM5 8h6",
  busy: "M13.800 9.500A6 6 0 1 1 13.300 5M13.800 1.800V5h-3.200",
};

/** A line drawing that stands before a word, never alone. */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;

/** A state as icon, word and colour. */
export const Status = ({ level, children }) => html`
  <span class="status ${level}"><${Icon} name=${level} />${children}</span>`;

/** A command to type, with a button to copy it where the browser allows that. */
export function Cli({ command }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(command).then(() => setCopied(true), () => {});
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<span class="cli"><code>${words(command)}</code>${navigator.clipboard && html`
    <button type="button" class="copy" onClick=${copy} aria-label=${`Copy: ${command}`}>
      ${copied ? "Copied" : "Copy"}</button>`}</span>`;
}

// Breaks only between words, not at the hyphens of an option.
const words = (command) => command.split(" ").flatMap((w, i) => [i ? " " : "", html`<span class="word">${w}</span>`]);

/** One part of the page: heading, what it is told by in the terminal, content. */
export function Section({ id, title, n, cli, children }) {
  return html`<section id=${id} class="card" aria-labelledby="${id}-title">
    <header class="card-head">
      <h2 id="${id}-title">${title}${n !== undefined && html` <span class="n">${count(n)}</span>`}</h2>
      ${cli && html`<${Cli} command=${cli} />`}
    </header>
    ${children}
  </section>`;
}

/**
 * A table that turns into cards on a narrow screen. Roles are written out because `display: block`
 * would take them away. `cols` are `{title, num?}`; `bodies` when the children are `<tbody>` themselves.
 */
export function Table({ caption, cols, bodies, children }) {
  const head = cols.map((c) => html`
    <th scope="col" role="columnheader" class=${c.num ? "num" : null}>${c.title}</th>`);
  return html`<table role="table">
    <caption>${caption}</caption>
    <thead role="rowgroup"><tr role="row">${head}</tr></thead>
    ${bodies ? children : html`<tbody role="rowgroup">${children}</tbody>`}
  </table>`;
}

/**
 * A cell; `label` is its column's title, shown beside it on a narrow screen; `usual`: says nothing of note
 * and may be left out there.
 */
export const Cell = ({ label, num, wide, usual, children }) => html`
  <td role="cell" data-label=${label} class=${[num && "num", wide && "wide", usual && "usual"].filter(Boolean).join(" ") || null}>
    <span>${children}</span></td>`;

/** The cell that names its row. */
export const RowHead = ({ children, id }) => html`<th scope="row" role="rowheader" id=${id}>${children}</th>`;

/** Up to this many slots are drawn one by one. */
const CELLS = 40;

/** Slot use: one box per slot, or a bar when there are too many. Without slots: no limit, or no proxy has any. */
export function SlotBar({ inUse, slots, unlimited }) {
  if (!(slots > 0)) {
    return html`<span class="slots"><span class="slots-text">${unlimited
      ? html`${count(inUse)} <small>in use, no limit</small>` : html`<small>none served</small>`}</span></span>`;
  }
  const used = Math.min(inUse, slots);
  const level = used >= slots ? "full" : used / slots >= 0.8 ? "high" : "";
  return html`<span class="slots ${level}">
    ${slots <= CELLS ? boxes(used, slots) : bar(used / slots)}
    <span class="slots-text">${count(inUse)}<small> / ${count(slots)}</small></span>
  </span>`;
}

function boxes(used, slots) {
  const gap = slots > 20 ? 1.5 : slots > 10 ? 2 : 2.5;
  const w = (100 - gap * (slots - 1)) / slots;
  const path = (from, to) => {
    let d = "";
    for (let i = from; i < to; i += 1) d += `M${(i * (w + gap)).toFixed(2)} 0h${w.toFixed(2)}v10h-${w.toFixed(2)}z`;
    return d;
  };
  return html`<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
    <path class="bar-free" d=${path(used, slots)} /><path class="bar-used" d=${path(0, used)} />
  </svg>`;
}

const bar = (share) => html`<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
  <path class="bar-free" d="M0 0h100v10h-100z" /><path class="bar-used" d="M0 0h${(share * 100).toFixed(2)}v10H0z" />
</svg>`;

/** The last two minutes of a figure, as a line; the figure itself stands beside it as text. */
export function Spark({ values, max }) {
  const top = Math.max(max ?? 0, 1, ...values.filter((v) => v !== null));
  const step = 100 / (values.length - 1);
  let d = "";
  let first = null;
  values.forEach((v, i) => {
    if (v === null) return;
    first ??= i * step;
    d += `${d ? "L" : "M"}${(i * step).toFixed(1)} ${(29 - (v / top) * 27).toFixed(1)}`;
  });
  if (!d) return null;
  return html`<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">
    <path class="spark-area" d="${d}L100 30L${first.toFixed(1)} 30z" /><path class="spark-line" d=${d} />
  </svg>`;
}

/** Why there is nothing to see here, and what helps. */
export const Empty = ({ children, command }) => html`<div class="empty">
  <p>${children}</p>${command && html`<${Cli} command=${command} />`}
</div>`;

/** The first `limit` rows, and a button for the rest: thousands of rows would stall the page. */
export function useLimit(list, limit, what) {
  const [all, setAll] = useState(false);
  if (all || list.length <= limit) return [list, null];
  return [list.slice(0, limit), html`<p class="more">
    <button type="button" onClick=${() => setAll(true)}>Show all ${count(list.length)} ${what}</button>
  </p>`];
}

/** A point in time: how long ago in words, the exact time on hover. */
export const When = ({ at, text }) => html`<time dateTime=${at} title=${at}>${text}</time>`;

/** A text field with its label. */
export function Field({ label, ...input }) {
  const id = useId();
  return html`<label for=${id}>${label}</label><input id=${id} ...${input} />`;
}

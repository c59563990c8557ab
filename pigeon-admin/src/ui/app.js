// The dashboard's entry: who is signed in decides which page shows.

import { render } from "./vendor/preact.js";
import { useEffect, useReducer, useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { emptyHistory, remember } from "./history.js";
import { startLive } from "./live.js";
import { Login } from "./login.js";
import { Overview } from "./overview.js";
import { signOut, whoAmI } from "./rest.js";

/** How long to wait before asking an admin again that did not answer. */
const AGAIN_MS = 3_000;

function App() {
  // undefined: not known yet; null: nobody; else {name, role}.
  const [who, setWho] = useState(undefined);
  const [notice, setNotice] = useState(null);
  const [error, setError] = useState(null);
  const [asked, ask] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let again = null;
    const failed = (e) => {
      setError(e.message);
      again = setTimeout(ask, AGAIN_MS);
    };
    whoAmI().then((w) => (setWho(w), setError(null)), failed);
    return () => clearTimeout(again);
  }, [asked]);
  const signedOut = (why) => {
    setNotice(why);
    setWho(null);
  };
  if (who === undefined) {
    return html`<p class="starting" role="status">${error
      ? `The admin at ${location.host} does not answer (${error}). Trying again …` : "Loading …"}</p>`;
  }
  if (who === null) {
    return html`<${Login} notice=${notice} onDone=${() => (setNotice(null), ask())} />`;
  }
  return html`<${SignedIn} who=${who} signedOut=${signedOut} />`;
}

const start = { summary: null, history: emptyHistory(), receivedAt: 0, state: "connecting" };

function step(live, event) {
  if (event.state) return { ...live, state: event.state };
  const history = remember(live.history, event.summary, event.at);
  return { ...live, summary: event.summary, history, receivedAt: event.at };
}

function SignedIn({ who, signedOut }) {
  const [live, tell] = useReducer(step, start);
  useEffect(() => startLive({
    summary: (summary) => tell({ summary, at: Date.now() }),
    state: (state) => tell({ state }),
    signedOut: () => signedOut("Your session has ended. Sign in again."),
  }), []);
  const leave = () => signOut().then(
    () => signedOut("You are signed out."),
    () => signedOut("The admin did not answer: the session may go on until it expires."),
  );
  return html`<${Overview} who=${who} live=${live} onSignOut=${leave} />`;
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);

// The page of somebody who is not signed in.

import { useRef, useState } from "./vendor/hooks.js";
import { html } from "./html.js";
import { Cli, Field, Icon } from "./parts.js";
import { signIn } from "./rest.js";

/** `notice`: why the page is here again, such as an ended session. `onDone` after success. */
export function Login({ notice, onDone }) {
  const [wrong, setWrong] = useState(null);
  const [busy, setBusy] = useState(false);
  const form = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    const field = form.current.elements.token;
    const token = field.value.trim();
    if (!token) {
      setWrong("Enter the token first.");
      field.focus();
      return;
    }
    setBusy(true);
    const said = await signIn(token);
    setBusy(false);
    if (said === null) return onDone();
    setWrong(said);
    field.select();
  };
  return html`<main class="login">
    <form class="card" ref=${form} onSubmit=${submit} method="post" novalidate>
      <h1><img src="icon.svg" alt="" width="44" height="44" />Pigeon</h1>
      ${notice && !wrong && html`<p class="note"><${Icon} name="off" />${notice}</p>`}
      <input type="text" name="username" value="admin" autocomplete="username" hidden />
      <${Field} label="Admin token" name="token" type="password" autocomplete="current-password"
        autocapitalize="off" spellcheck="false" autofocus required
        aria-invalid=${wrong ? "true" : null} aria-describedby="login-said login-hint" />
      <p class="said" id="login-said" role="alert">${wrong && html`<${Icon} name="bad" />${wrong}`}</p>
      <button class="primary" disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button>
      <div class="hint" id="login-hint">
        <p>The token is in the file <code>admin.token</code> of the admin's data folder (<code>--data-dir</code>):</p>
        <${Cli} command="cat DATA_DIR/admin.token" />
        <p>It stays out of addresses and scripts: this page swaps it for a session of 12 hours that may look, not change.</p>
      </div>
    </form>
  </main>`;
}

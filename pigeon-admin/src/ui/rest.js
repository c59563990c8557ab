// The calls of the REST API that this page makes, besides the stream.

/** No answer within this time counts as unreachable. */
const TIMEOUT_MS = 10_000;

async function call(method, path, body) {
  const init = { method, credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS), headers: {} };
  if (body !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  return fetch(path, init);
}

/** Who is signed in: `{name, role}`; null if nobody is. Throws if the admin cannot be reached. */
export async function whoAmI() {
  const answer = await call("GET", "/v1/whoami");
  if (answer.status === 401) return null;
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

/** Exchanges the token for a session cookie. Gives what went wrong, or null. */
export async function signIn(token) {
  let answer;
  try {
    answer = await call("POST", "/v1/sessions", { token });
  } catch {
    return `The admin at ${location.host} does not answer. See that pigeon-admin runs.`;
  }
  if (answer.ok) return null;
  if (answer.status === 401) {
    return "That is not the token of this admin. Compare it with the file below; take the whole line.";
  }
  return reason(answer);
}

/** Ends the session on the admin. */
export async function signOut() {
  const answer = await call("DELETE", "/v1/sessions");
  if (!answer.ok && answer.status !== 401) throw new Error(await reason(answer));
}

// problem+json where the admin gave it, else the status.
async function reason(answer) {
  const problem = await answer.json().catch(() => ({}));
  const said = [problem.title, problem.detail].filter(Boolean).join(": ");
  return said || `The admin answered ${answer.status}.`;
}

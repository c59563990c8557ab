// The dashboard in a real browser against a real admin with at least one connected proxy: see ./run.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const need = (name) => process.env[name] || assert.fail(`set ${name}; see e2e/browser/run`);
const url = need("PIGEON_URL").replace(/\/$/, "");
const token = readFileSync(need("PIGEON_TOKEN_FILE"), "utf8").trim();
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
  + "font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const WAIT_MS = 15_000;
const unique = `ui-${Date.now().toString(36)}`;

let browser;
let revisionBefore;

async function rest(method, path, body, expected = [200, 201]) {
  const headers = { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) };
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(expected.includes(answer.status), `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

before(async () => {
  const executablePath = process.env.PIGEON_CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ARGS });
  revisionBefore = (await rest("GET", "/v1/summary")).revision;
  await rest("PUT", `/v1/engines/${unique}-first`, {
    spec: { endpoints: [{ address: "127.0.0.1:9" }], pool: { mode: "strict", slots: 7, queue: 3 } },
  });
  await rest("PUT", `/v1/routes/${unique}-first`, { spec: { match: { grpc: `first.${unique.replace("-", "_")}.Echo` }, engine: `${unique}-first` } });
});

after(async () => {
  for (const path of ["routes", "engines"]) {
    for (const name of ["split", "first", "live"]) await rest("DELETE", `/v1/${path}/${unique}-${name}`, undefined, [200, 202, 404]).catch(() => {});
  }
  await browser?.close();
});

// Runs `body` on a fresh page and fails on anything the browser complains about. `refusals`: paths that
// may answer 401, which the browser puts on the console as an error.
async function onPage({ options = {}, refusals = [] }, body) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(WAIT_MS);
  const complaints = [];
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
    window.streams = [];
    window.EventSource = class extends EventSource {
      constructor(...args) {
        super(...args);
        window.streams.push(this);
      }
    };
  });
  const page = await context.newPage();
  page.on("console", (m) => {
    const path = m.location().url.replace(url, "");
    const expected = m.text().includes("401") && refusals.includes(path);
    if (["error", "warning"].includes(m.type()) && !expected) complaints.push(`${m.text()} (${path})`);
  });
  page.on("pageerror", (e) => complaints.push(`exception: ${e.stack}`));
  page.on("request", (r) => {
    if (!r.url().startsWith(`${url}/`) && !r.url().startsWith("data:")) complaints.push(`asked elsewhere: ${r.url()}`);
  });
  try {
    await body(page, context, complaints);
    assert.deepEqual(await page.evaluate(() => window.violations), [], "content security policy");
    assert.deepEqual(complaints, [], "console and network");
  } finally {
    await context.close();
  }
}

async function signIn(page) {
  await page.goto(`${url}/ui/`);
  await page.getByLabel("Admin token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  await page.locator("#link.live").waitFor();
}

const UNSIGNED = { refusals: ["/v1/whoami"] };
const table = (page, name) => page.getByRole("table", { name });

test("the page comes with its policy, and only what exists is served", async () => {
  const page = await fetch(`${url}/ui/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type"), /^text\/html/);
  assert.equal(page.headers.get("content-security-policy"), CSP);
  assert.equal((await fetch(`${url}/ui/no-such-file.js`)).status, 404);
  assert.equal((await fetch(`${url}/ui/vendor/..%2f..%2f..%2fCargo.toml`)).status, 404);
  const script = await fetch(`${url}/ui/app.js`);
  assert.match(script.headers.get("content-type"), /javascript/);
});

test("a wrong token is refused and says what to do", () =>
  onPage({ refusals: ["/v1/whoami", "/v1/sessions"] }, async (page) => {
    await page.goto(`${url}/ui/`);
    await page.getByText("admin.token").first().waitFor();
    const button = page.getByRole("button", { name: "Sign in" });
    await button.click();
    await page.getByRole("alert").getByText("Enter the token first").waitFor();
    await page.getByLabel("Admin token").fill("wrong");
    await button.click();
    await page.getByRole("alert").getByText("not the token").waitFor();
    assert.equal(await page.evaluate(() => window.streams.length), 0, "no stream before the sign-in");
  }));

test("signed in: engines, routes, proxies, changes", () =>
  onPage(UNSIGNED, async (page) => {
    await signIn(page);
    const { proxies } = await rest("GET", "/v1/summary");
    assert.ok(proxies.some((p) => p.connected), "this test needs a connected proxy");
    const engine = table(page, /^Engines/).getByRole("row", { name: `${unique}-first` });
    await engine.getByText(/^strict, 7 slots per endpoint( and proxy)?, 3 may wait up to 2s$/).waitFor();
    await table(page, /^Engines/).getByText("127.0.0.1:9", { exact: true }).first().waitFor();
    const route = table(page, /^Routes/).getByRole("row", { name: `${unique}-first` });
    await route.getByText("every method of").waitFor();
    await route.getByRole("link", { name: `${unique}-first` }).waitFor();
    for (const p of proxies) await table(page, /^Proxies/).getByRole("rowheader", { name: p.name }).first().waitFor();
    await table(page, /newest revisions/).getByText(`${unique}-first`).first().waitFor();
    assert.equal(await page.evaluate(() => window.streams.length), 1, "one stream");
    assert.equal(await page.locator("[aria-live]").count(), 1, "one live region");
  }));

test("a change shows without a reload", () =>
  onPage(UNSIGNED, async (page) => {
    await signIn(page);
    await page.evaluate(() => { window.sameDocument = true; });
    const name = `${unique}-live`;
    const spec = { endpoints: [{ address: "127.0.0.1:10" }, { address: "127.0.0.1:11" }], pool: { mode: "strict", slots: 4 } };
    await rest("PUT", `/v1/engines/${name}`, { spec });
    const row = table(page, /^Engines/).getByRole("row", { name });
    await row.getByText("2 endpoints").waitFor();
    const { revision } = await rest("PUT", `/v1/routes/${name}`, { spec: { match: { path: `/${name}*` }, engine: name } });
    await table(page, /^Routes/).getByText("and everything below").first().waitFor();
    await table(page, /newest revisions/).getByRole("rowheader", { name: String(revision) }).waitFor();
    assert.ok(revision > revisionBefore);
    await rest("PUT", `/v1/engines/${name}`, { spec: { endpoints: [] } });
    await page.getByRole("region", { name: /problem/ }).getByText(`Engine ${name} has no endpoints`).waitFor();
    await page.locator("#announcer", { hasText: `Engine ${name} has no endpoints` }).waitFor({ state: "attached" });
    await rest("DELETE", `/v1/routes/${name}`);
    await rest("DELETE", `/v1/engines/${name}`);
    await row.waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => window.sameDocument), true);
  }));

test("a split shows its shares, a drained endpoint that it is one, every cell has its column", () =>
  onPage(UNSIGNED, async (page) => {
    const name = `${unique}-split`;
    const path = `/v1/engines/${name}`;
    await rest("PUT", path, { spec: { endpoints: [{ address: "127.0.0.1:12", drain: true }, { address: "127.0.0.1:13" }], health: "none" } });
    const split = [{ engine: name, percent: 10 }];
    await rest("PUT", `/v1/routes/${name}`, { spec: { match: { path: `/${name}` }, engine: `${unique}-first`, split } });
    await signIn(page);
    const route = table(page, /^Routes/).getByRole("row", { name });
    await route.getByText("90 %").waitFor();
    await route.getByRole("link", { name, exact: true }).waitFor();
    await route.getByText("10 %").waitFor();
    // The table of engines begins folded where there are many endpoints.
    const group = table(page, /^Engines/).getByRole("rowgroup").filter({ hasText: name });
    const fold = group.getByRole("button", { name: "2 endpoints" });
    if ((await fold.getAttribute("aria-expanded")) === "false") await fold.click();
    const row = group.getByRole("row", { name: "127.0.0.1:12" });
    await row.getByText(/draining|set to drain/).first().waitFor();
    const columns = await table(page, /^Engines/).getByRole("columnheader").count();
    for (const r of [row, group.getByRole("row", { name })]) {
      const cells = (await r.first().getByRole("rowheader").count()) + (await r.first().getByRole("cell").count());
      assert.equal(cells, columns);
    }
    await rest("DELETE", `/v1/routes/${name}`);
    await rest("DELETE", path);
  }));

test("the filter narrows the tables and stays in the address", () =>
  onPage(UNSIGNED, async (page) => {
    await signIn(page);
    await page.goto(`${url}/ui/?q=${unique}-first`);
    await table(page, /^Engines/).getByRole("row", { name: `${unique}-first` }).waitFor();
    assert.equal(await table(page, /^Routes/).locator("tbody tr").count(), 1);
    await page.keyboard.press("/");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("no such thing");
    await page.getByText("No engine fits").waitFor();
    assert.match(page.url(), /q=no\+such\+thing/);
    await page.keyboard.press("Escape");
    await table(page, /^Engines/).waitFor();
    assert.ok(!page.url().includes("q="));
  }));

test("a hidden page closes its stream and comes back when seen", () =>
  onPage(UNSIGNED, async (page) => {
    await page.clock.install();
    await signIn(page);
    const show = (state) => page.evaluate((s) => {
      Object.defineProperty(document, "visibilityState", { configurable: true, get: () => s });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
    const states = () => page.evaluate(() => window.streams.map((s) => s.readyState));
    await show("hidden");
    await page.clock.fastForward(50_000);
    assert.deepEqual(await states(), [1], "still open after 50 s");
    await page.clock.fastForward(11_000);
    assert.deepEqual(await states(), [2], "closed after 60 s");
    await show("visible");
    await page.locator("#link.live").waitFor();
    assert.deepEqual(await states(), [2, 1]);
  }));

test("a lost connection says so and heals; an ended session leads back to the sign-in", () =>
  onPage({ refusals: ["/v1/whoami", "/v1/stream"] }, async (page, context, complaints) => {
    await signIn(page);
    const lose = () => page.evaluate(() => window.streams.at(-1).dispatchEvent(new Event("error")));
    await context.setOffline(true);
    await lose();
    await page.locator("#link.reconnecting").getByText("Reconnecting").waitFor();
    await page.locator("#link").getByText(/data \d+ s old/).waitFor();
    assert.ok(await table(page, /^Engines/).isVisible(), "what was known stays on the page");
    await context.setOffline(false);
    await page.locator("#link.live").waitFor();
    // The browser itself reports every attempt without a network.
    const others = complaints.filter((c) => !c.includes("ERR_INTERNET_DISCONNECTED"));
    complaints.splice(0, complaints.length, ...others);
    await context.clearCookies();
    await lose();
    await page.getByText("Your session has ended").waitFor();
    await page.getByLabel("Admin token").waitFor();
  }));

test("signing out ends the session on the admin", () =>
  onPage(UNSIGNED, async (page, context) => {
    await signIn(page);
    const [cookie] = await context.cookies(url);
    assert.equal(cookie.httpOnly && cookie.sameSite, "Strict", JSON.stringify(cookie));
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out").waitFor();
    // No stream is left; it may close a moment after the words show.
    await page.waitForFunction(() => window.streams.every((s) => s.readyState === 2));
    const again = await fetch(`${url}/v1/whoami`, { headers: { cookie: `${cookie.name}=${cookie.value}` } });
    assert.equal(again.status, 401, "the old cookie is worth nothing");
    await page.reload();
    await page.getByLabel("Admin token").waitFor();
  }));

test("nothing sticks out at 360 pixels, in the dark", () =>
  onPage({ ...UNSIGNED, options: { viewport: { width: 360, height: 740 }, colorScheme: "dark", reducedMotion: "reduce" } }, async (page) => {
    const wider = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    await page.goto(`${url}/ui/`);
    await page.getByLabel("Admin token").waitFor();
    assert.ok((await wider()) <= 0, "the sign-in");
    await signIn(page);
    await table(page, /^Engines/).waitFor();
    assert.ok((await wider()) <= 0, "the overview");
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(dark, "rgb(16, 20, 27)");
  }));

test("a picture", { skip: !process.env.PIGEON_SCREENSHOT && "PIGEON_SCREENSHOT is not set" }, () =>
  onPage(UNSIGNED, async (page) => {
    await signIn(page);
    await table(page, /^Engines/).waitFor();
    await page.screenshot({ path: process.env.PIGEON_SCREENSHOT, fullPage: true });
  }));

// The dashboard's pure modules: what it says about a configuration, and what it calls a problem.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";

// A copy beside a package.json: without one, Node takes a .js file for CommonJS.
const copy = mkdtempSync(join(tmpdir(), "pigeon-ui-"));
cpSync(new URL("../../pigeon-admin/src/ui", import.meta.url), copy, { recursive: true });
writeFileSync(join(copy, "package.json"), '{"type": "module"}');
const load = (name) => import(pathToFileURL(join(copy, name)));
const words = await load("words.js");
const history = await load("history.js");
const { announcement, problems, startProxy } = await load("problems.js");
after(() => rmSync(copy, { recursive: true }));

const proxy = (name, more) => ({
  name, connected: true, revision: 5, effective_revision: 5, lag: 0, last_ack_age_ms: 100, rejected: [], state: "in_sync", ...more,
});
const engine = (name, status = {}, endpoints = [{ address: "127.0.0.1:1" }]) => ({
  name, spec: { endpoints }, status: { slots: 4, in_use: 0, waiting: 0, calls: 0, failures: 0, ...status },
});
const summary = (more) => ({ revision: 5, proxies: [proxy("p")], engines: [], routes: [], recent: [], ...more });
const found = (s, h = history.emptyHistory(), now = 0) => problems(s, h, now).map((p) => [p.level, p.key]);

test("a match in words", () => {
  for (const [match, text] of [
    [undefined, "every call"],
    [{ grpc: "a.B" }, "gRPC every method of a.B"],
    [{ grpc: "a.B/C", host: "*.x.io" }, "gRPC method C of a.B for every host under x.io"],
    [{ path: "/users*", methods: ["GET", "HEAD"] }, "HTTP GET, HEAD on /users and everything below"],
    [{ path: "/users" }, "HTTP exactly /users"],
    [{ path: "/*", host: "x.io", listener: "edge" }, "HTTP every path for host x.io on listener edge"],
    [{ methods: ["GET"] }, "HTTP GET on every path"],
  ]) assert.equal(words.matchText(match), text);
});

test("times and numbers", () => {
  const s = 1000;
  const h = 3600 * s;
  for (const [ms, text] of [[0, "0 s"], [59.9 * s, "59 s"], [61 * s, "1 min"], [2 * h, "2 h"], [2.2 * h, "2 h 12 min"],
    [24 * h, "1 d"], [27 * h, "1 d 3 h"], [-5, "0 s"]]) assert.equal(words.duration(ms), text);
  assert.deepEqual([0, 0.01, 0.44, 9.9, 12.4, 1234.5].map(words.rate), ["0", "<0.1", "0.4", "9.9", "12", "1,235"]);
  assert.deepEqual([7, 12345, 12345678, NaN].map(words.count), ["7", "12,345", "12.3 M", "–"]);
});

test("times of a call to about two digits", () => {
  const cases = [[0, "0.00 ms"], [0.064, "0.06 ms"], [1.26, "1.3 ms"], [81.5, "82 ms"], [999.6, "1.0 s"], [61_000, "61 s"]];
  for (const [ms, text] of cases) assert.equal(words.fine(ms), text);
});

test("the shares of a route add up to 100", () => {
  assert.deepEqual(words.sharesOf({ answer: {} }), []);
  assert.equal(words.ownInWords({ engine: "a" }), "");
  assert.equal(words.ownInWords({ answer: { grpc_status: "ABORTED" } }), "answer ABORTED");
  assert.equal(words.ownInWords({ redirect: { scheme: "https", host: "b", port: 81, path: "/n*" } }), "redirect https://b:81/n*");
  assert.deepEqual(words.sharesOf({ engine: "a", split: [] }), [{ engine: "a", percent: 100 }]);
  assert.deepEqual(words.sharesOf({ engine: "a", split: [{ engine: "b", percent: 10 }, { engine: "c", percent: 5 }] }),
    [{ engine: "a", percent: 85 }, { engine: "b", percent: 10 }, { engine: "c", percent: 5 }]);
});

test("a reason names who gives it where proxies do not agree", () => {
  const view = (proxy, state) => ({ proxy, state, reason: "" });
  assert.equal(words.reasonInWords({ state: "healthy", reason: "", proxies: [] }), "");
  assert.equal(words.reasonInWords({ state: "ejected", reason: "5 calls failed", proxies: [] }), "5 calls failed");
  const proxies = [view("p2", "ejected"), view("p1", "healthy")];
  assert.equal(words.reasonInWords({ state: "ejected", reason: "5 calls failed", proxies }), "5 calls failed (1 of 2 proxies: p2)");
});

test("a pool in words", () => {
  const pool = { mode: "strict", slots: 1, queue: 0, queue_timeout: "2s" };
  for (const [p, proxies, text] of [
    [{ mode: "off" }, 2, "no slot limit"],
    [pool, 1, "strict, 1 slot per endpoint, nobody waits"],
    [{ ...pool, mode: "loose", slots: 8, queue: 64 }, 2, "loose, 8 slots per endpoint and proxy, 64 may wait up to 2s"],
  ]) assert.equal(words.poolInWords(p, proxies), text);
});

test("changes of one sort stand together", () => {
  const put = (action, kind, name) => ({ op: "put", action, kind, name });
  assert.deepEqual(words.changesInWords([put("create", "route", "a"), put("update", "engine", "e"), put("create", "route", "b")]), [
    { verb: "created", kind: "route", names: ["a", "b"] },
    { verb: "changed", kind: "engine", names: ["e"] },
  ]);
  assert.equal(words.changesInWords([{ op: "del", action: "delete", kind: "route", name: "a" }])[0].verb, "removed");
});

test("nothing wrong, nothing said", () => {
  assert.deepEqual(found(summary({ engines: [engine("e", { in_use: 4, failures: 9 })] })), []);
  assert.equal(announcement([]), "No problems.");
});

test("each problem is found, the worst first", () => {
  assert.deepEqual(found(summary({ proxies: [] })), [["bad", "no-proxy"]]);
  assert.deepEqual(found(summary({ proxies: [proxy("a", { connected: false, state: "disconnected" })] })), [["bad", "no-proxy"]]);
  const rejected = [{ kind: "listener", name: "x", mod_revision: 5, serving_mod_revision: 3, code: "PGN-P301", message: "address in use" }];
  const s = summary({
    proxies: [proxy("a"), proxy("b", { connected: false, state: "disconnected" }), proxy("c", { rejected, state: "rejected" })],
    engines: [engine("unused", {}, []), engine("used", {}, []), engine("full", { in_use: 4, waiting: 2 })],
    routes: [{ name: "r", spec: { engine: "used" } }],
  });
  assert.deepEqual(found(s), [
    ["bad", "proxy/b"], ["bad", "refused/c/listener/x"], ["bad", "endpoints/used"], ["warn", "endpoints/unused"], ["warn", "full/full"],
  ]);
  const refusal = problems(s, history.emptyHistory(), 0).find((p) => p.key.startsWith("refused"));
  assert.match(refusal.why, /address in use\. It goes on serving the listener as of revision 3\./);
  assert.equal(refusal.code, "PGN-P301");
});

test("endpoints without calls are a problem, and worse when there is no other", () => {
  const endpoint = (address, state, more) => ({ address, state, drain: false, reason: state === "ejected" ? "5 calls failed" : "", proxies: [], ...more });
  const of = (name, ...endpoints) => engine(name, { endpoints }, endpoints.map((p) => ({ address: p.address })));
  const routes = [{ name: "r", spec: { engine: "x", split: [{ engine: "drained", percent: 5 }] } }];
  const disputed = { proxies: [{ proxy: "p2", state: "ejected" }, { proxy: "p1", state: "healthy" }] };
  const s = summary({ routes, engines: [
    of("some", endpoint("a:1", "ejected"), endpoint("b:1", "healthy"), endpoint("c:1", "draining")),
    of("all", endpoint("a:1", "ejected"), endpoint("b:1", "unhealthy"), endpoint("c:1", "draining", { drain: true })),
    of("disputed", endpoint("a:1", "ejected", disputed)),
    of("drained", endpoint("a:1", null, { drain: true })),
    of("unused", endpoint("a:1", "draining", { drain: true })),
    of("well", endpoint("a:1", "starting"), endpoint("b:1", null)),
  ] });
  assert.deepEqual(found(s), [["bad", "idle/all"], ["bad", "idle/drained"], ["warn", "idle/some"], ["warn", "idle/disputed"]]);
  const said = Object.fromEntries(problems(s, history.emptyHistory(), 0).map((p) => [p.key, p]));
  assert.equal(said["idle/some"].title, "1 of 3 endpoints of engine some gets no calls");
  assert.match(said["idle/all"].why, /^a:1 is ejected: 5 calls failed\. b:1 is unhealthy: no reason given\. c:1 is set to drain\.$/);
  assert.equal(said["idle/some"].why, "a:1 is ejected: 5 calls failed.");
  assert.equal(said["idle/disputed"].title, "1 of 1 endpoint of engine disputed gets no calls of some proxies");
  assert.match(said["idle/disputed"].why, /1 of 2 proxies: p2/);
  assert.deepEqual(said["idle/all"].next, ["pigeon-ctl engine endpoints all"]);
  // A removed endpoint that finishes its calls is not one of the engine.
  const left = summary({ engines: [engine("e", { endpoints: [endpoint("old:1", "ejected")] })] });
  assert.deepEqual(found(left), []);
});

test("a share of a split is a use of its engine", () => {
  const routes = [{ name: "r", spec: { engine: "a", split: [{ engine: "b", percent: 5 }] } }];
  assert.deepEqual(found(summary({ routes, engines: [engine("b", {}, [])] })), [["bad", "endpoints/b"]]);
});

test("the command that starts a proxy names no port it cannot know", () => {
  assert.match(startProxy({ hostname: "gw", port: "9800" }), /--admin http:\/\/gw:9801 /);
  assert.match(startProxy({ hostname: "gw", port: "" }), /--admin http:\/\/gw:GRPC_PORT /);
});

test("a proxy may be behind for a moment", () => {
  const s = summary({ proxies: [proxy("a", { state: "behind", effective_revision: 4, lag: 1 })] });
  let h = history.remember(history.emptyHistory(), s, 1_000);
  assert.deepEqual(found(s, h, 2_000), []);
  h = history.remember(h, s, 7_000);
  assert.deepEqual(found(s, h, 7_000), [["warn", "behind/a"]]);
  h = history.remember(h, summary(), 8_000);
  assert.deepEqual(h.behindSince, {});
});

test("calls per second and failures of late", () => {
  const at = (calls, failures) => summary({ engines: [engine("e", { calls, failures })] });
  let h = history.emptyHistory();
  [[0, 0], [10, 0], [20, 1], [30, 2]].forEach(([c, f], i) => { h = history.remember(h, at(c, f), 1_000 * i); });
  assert.equal(history.callsPerSecond(h, 3_000, "e"), 10);
  assert.equal(history.callsPerSecond(h, 3_000), 10);
  assert.equal(history.callsPerSecond(h, 60_000), 0, "no summary for a while: nothing moves");
  assert.equal(history.recentFailures(h, 3_000, "e"), 2);
  assert.equal(history.recentFailures(h, 200_000, "e"), 0);
  assert.deepEqual(found(at(30, 2), h, 3_000), [["warn", "failing/e"]]);
  // A proxy restarts: its counters begin again, which is no call at all.
  h = history.remember(h, at(0, 0), 4_000);
  assert.ok(history.callsPerSecond(h, 4_000, "e") >= 0);
  assert.equal(history.recentFailures(h, 4_000, "e"), 2);
});

test("what is announced does not change with the clock", () => {
  const s = summary({ proxies: [proxy("a"), proxy("b", { connected: false, state: "disconnected", last_ack_age_ms: 9_000 })] });
  const [early, late] = [0, 50_000].map((now) => problems(s, history.emptyHistory(), now, 0));
  assert.notEqual(early[0].age, late[0].age);
  assert.equal(announcement(early), announcement(late));
});

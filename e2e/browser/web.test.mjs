// gRPC-Web in a real browser: a page of another origin, the client of the gRPC project, the demo engine.
//   PIGEON_GATEWAY=http://127.0.0.1:8080 PIGEON_PROTO=DIR node --test web.test.mjs
// The routes `echo` and `chat` let pages of any origin call; `speech` does not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const need = (name) => process.env[name] || assert.fail(`set ${name}; see e2e/browser/web.test.mjs`);
const gateway = need("PIGEON_GATEWAY").replace(/\/$/, "");
const proto = readFileSync(need("PIGEON_PROTO"));
const from = (path) => readFileSync(new URL(`node_modules/${path}`, import.meta.url));
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

// Runs in the page: `call(format, method, request, metadata)` gives everything that came, in order.
const PAGE = `<!doctype html><script src="/protobuf.js"></script><script type="module">
import * as web from "/grpc-web.js";
const root = protobuf.parse(await (await fetch("/demo.proto")).text()).root;
const type = (name) => root.lookupType("pigeon.demo.v1." + name);
const METHODS = {
  ping: ["/pigeon.demo.v1.Echo/Ping", "unary", "PingRequest", "PingReply"],
  generate: ["/pigeon.demo.v1.Chat/Generate", "server_streaming", "Prompt", "Token"],
  recognize: ["/pigeon.demo.v1.Speech/Recognize", "server_streaming", "Audio", "Transcript"],
};
window.call = (format, method, request, metadata = {}, cancelAfter = Infinity) => new Promise((done) => {
  const [path, kind, asked, answered] = METHODS[method];
  const client = new web.GrpcWebClientBase({ format });
  const descriptor = new web.MethodDescriptor(path, kind, Object, Object,
    (message) => type(asked).encode(type(asked).create(message)).finish(),
    (bytes) => type(answered).toObject(type(answered).decode(bytes), { bytes: String, defaults: true }));
  const seen = { messages: [], status: null, error: null };
  const failed = (error) => {
    seen.error = { code: error.code, message: error.message, metadata: error.metadata };
    done(seen);
  };
  const url = ${JSON.stringify(gateway)} + path;
  if (kind === "unary") {
    client.unaryCall(url, request, metadata, descriptor).then((message) => { seen.messages.push(message); done(seen); }, failed);
    return;
  }
  const stream = client.serverStreaming(url, request, metadata, descriptor);
  stream.on("data", (message) => {
    seen.messages.push(message);
    if (seen.messages.length >= cancelAfter) { stream.cancel(); done(seen); }
  });
  stream.on("status", (status) => { seen.status = status; });
  stream.on("error", failed);
  stream.on("end", () => done(seen));
});
document.title = "ready";
</script>`;

const FILES = {
  "/": ["text/html", PAGE],
  "/grpc-web.js": ["text/javascript", from("grpc-web/index.esm.js")],
  "/protobuf.js": ["text/javascript", from("protobufjs/dist/protobuf.min.js")],
  "/demo.proto": ["text/plain", proto],
};

let server;
let browser;
let page;
before(async () => {
  server = createServer((request, response) => {
    const [type, body] = FILES[request.url] ?? [];
    response.writeHead(type ? 200 : 404, { "content-type": type ?? "text/plain" }).end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const executablePath = process.env.PIGEON_CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ARGS });
  page = await (await browser.newContext()).newPage();
  page.on("pageerror", (error) => assert.fail(`the page failed: ${error}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => document.title === "ready");
});

after(async () => {
  await browser?.close();
  server?.close();
});

const call = (...args) => page.evaluate((args) => window.call(...args), args);
const hello = { payload: [104, 105] };

for (const format of ["text", "binary"]) {
  test(`${format}: a unary call`, async () => {
    const { messages, error } = await call(format, "ping", hello);
    assert.equal(error, null);
    assert.equal(messages.length, 1);
    assert.match(messages[0].engine, /^demo-/);
  });

  test(`${format}: server streaming`, async () => {
    const { messages, status, error } = await call(format, "generate", { text: "one two three" });
    assert.equal(error, null);
    assert.deepEqual(messages.map((m) => m.text), ["one", "two", "three"]);
    assert.equal(status.code, 0);
  });

  test(`${format}: an error before and after messages`, async () => {
    const before = await call(format, "ping", hello, { "demo-fail": "5" });
    assert.equal(before.error.code, 5);
    const after = await call(format, "generate", { text: "one two three" }, { "demo-fail": "5", "demo-fail-after": "2" });
    assert.deepEqual([after.messages.length, after.error.code], [2, 5]);
    assert.ok("grpc-status-details-bin" in after.error.metadata, JSON.stringify(after.error.metadata));
  });

  test(`${format}: a deadline`, async () => {
    const deadline = String(Date.now() + 300);
    const { error } = await call(format, "ping", hello, { deadline, "demo-delay-ms": "60000" });
    assert.equal(error.code, 4);
  });
}

// In text a browser shows what has come; the rest of this stream is an hour away.
test("messages are there when they come, and a call can be cancelled", async () => {
  const { messages } = await call("text", "generate", { text: "one two" }, { "demo-gap-ms": "3600000" }, 1);
  assert.deepEqual(messages.map((m) => m.text), ["one"]);
});

test("a route without rules for pages is closed to them", async () => {
  const { error } = await call("text", "recognize", {});
  assert.ok(error, "the browser lets the page read nothing");
  assert.equal(error.metadata?.["pigeon-reason"], undefined);
});

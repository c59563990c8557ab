// A page that talks WebSocket through the gateway with an engine that is the `ws` library:
// e2e/tests/scenarios/websocket.rs starts it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { WebSocketServer } from "ws";

const need = (name) => process.env[name] || assert.fail(`set ${name}; see e2e/tests/scenarios/websocket.rs`);
const gateway = need("PIGEON_GATEWAY");
const port = Number(need("PIGEON_WS_PORT"));
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const WAIT_MS = 15_000;

let browser;
let engine;
const closed = [];

before(async () => {
  engine = new WebSocketServer({ host: "127.0.0.1", port, handleProtocols: (offered) => [...offered][0] });
  await once(engine, "listening");
  engine.on("connection", (socket, request) => {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    socket.on("close", (code, reason) => closed.push([code, reason.toString()]));
    socket.send(`forwarded for ${request.headers["x-forwarded-for"]}`);
  });
  browser = await chromium.launch({ executablePath: need("PIGEON_CHROMIUM"), args: ARGS });
});

after(async () => {
  await browser?.close();
  engine?.close();
});

test("text, a megabyte, and the closing words pass both ways", { timeout: 4 * WAIT_MS }, async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const told = await page.evaluate(async (url) => {
    const socket = new WebSocket(url, ["chat.v1", "chat.v2"]);
    socket.binaryType = "arraybuffer";
    const heard = [];
    const big = new Uint8Array(1 << 20).map((_, n) => n * 31);
    return await new Promise((resolve) => {
      socket.onopen = () => {
        socket.send("hello");
        socket.send(big);
      };
      socket.onmessage = ({ data }) => {
        const same = typeof data !== "string" && new Uint8Array(data).every((byte, n) => byte === big[n]);
        heard.push(typeof data === "string" ? data : `${data.byteLength} ${same}`);
        if (heard.length === 3) socket.close(4001, "enough");
      };
      socket.onclose = ({ code, reason, wasClean }) => resolve({ heard, code, reason, wasClean, protocol: socket.protocol });
    });
  }, `ws://${gateway}/ws`);
  assert.deepEqual(told, {
    heard: ["forwarded for 127.0.0.1", "hello", `${1 << 20} true`],
    code: 4001,
    reason: "enough",
    wasClean: true,
    protocol: "chat.v1",
  });
  assert.deepEqual(closed, [[4001, "enough"]]);
});

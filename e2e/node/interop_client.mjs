// grpc-js as the client of gRPC's interoperability tests, through the gateway at `--target`.
//
// The cases and their numbers are those of gRPC's public description of the tests. One JSON line per case.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import { INITIAL, TRAILING, TestService, UnimplementedService, payload } from "./protos.mjs";

const DEADLINE_MS = 20_000;
const LARGE_REQUEST = 271828;
const LARGE_RESPONSE = 314159;
const REQUESTS = [27182, 8, 1828, 45904];
const RESPONSES = [31415, 9, 2653, 58979];
const SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
const GZIP = { "grpc.default_compression_algorithm": 2 };
// `--plain-server`: it cannot decompress.
const options = { target: { type: "string" }, "plain-server": { type: "boolean" } };
const { target, "plain-server": plainServer } = parseArgs({ options }).values;

const insecure = grpc.credentials.createInsecure();
const connect = (options = {}) =>
  new TestService(target, insecure, { "grpc.use_local_subchannel_pool": 1, ...options });
const deadline = () => ({ deadline: Date.now() + DEADLINE_MS });
const simple = (more) => ({ response_size: LARGE_RESPONSE, payload: payload(LARGE_REQUEST), ...more });
const output = (sizes, more) => ({ response_parameters: sizes.map((size) => ({ size })), ...more });
const inputs = () => REQUESTS.map((size) => ({ payload: payload(size) }));

function zeros(answer, size) {
  assert.equal(answer.payload.body.length, size);
  assert.ok(answer.payload.body.every((byte) => byte === 0));
}

// The outcome of a call: its headers, its messages, its status with the trailers.
function watch(call) {
  const seen = { headers: null, messages: [], status: null };
  const waiting = [];
  const ended = new Promise((resolve) => {
    call.on("metadata", (headers) => (seen.headers = headers));
    call.on("status", (status) => {
      seen.status = status;
      waiting.splice(0).forEach((tell) => tell());
      resolve(seen);
    });
    // Said again by the status.
    call.on("error", () => {});
  });
  call.on("data", (message) => {
    seen.messages.push(message);
    waiting.splice(0).forEach((tell) => tell());
  });
  const message = async (index) => {
    while (seen.messages.length <= index) {
      assert.equal(seen.status, null, `it ended: ${JSON.stringify(seen.status)}`);
      await new Promise((resolve) => waiting.push(resolve));
    }
    return seen.messages[index];
  };
  return { ended, message };
}

// A call with one answer.
function unary(client, method, request, metadata = new grpc.Metadata()) {
  const seen = { headers: null, answer: null, error: null };
  return new Promise((resolve) => {
    const call = client[method](request, metadata, deadline(), (error, answer) => {
      Object.assign(seen, { error, answer });
    });
    call.on("metadata", (headers) => (seen.headers = headers));
    call.on("status", (status) => resolve({ ...seen, status }));
  });
}

async function unaryAnswer(client, method, request) {
  const { status, answer } = await unary(client, method, request);
  assert.equal(status.code, grpc.status.OK, status.details);
  return answer;
}

const large = async (client) => zeros(await unaryAnswer(client, "UnaryCall", simple()), LARGE_RESPONSE);

function upload(client, requests) {
  return new Promise((resolve, reject) => {
    const call = client.StreamingInputCall(deadline(), (error, answer) => {
      if (error) reject(error);
      else resolve(answer.aggregated_payload_size);
    });
    requests.forEach((request) => call.write(request));
    call.end();
  });
}

// A bidirectional call with all requests at once.
async function exchange(client, method, requests, metadata = new grpc.Metadata()) {
  const call = client[method](metadata, deadline());
  const { ended } = watch(call);
  requests.forEach((request) => call.write(request));
  call.end();
  return ended;
}

function sizesOf({ status, messages }) {
  assert.equal(status.code, grpc.status.OK, status.details);
  return messages.map((message) => message.payload.body.length);
}

async function compressing(run) {
  const client = connect(GZIP);
  try {
    await run(client);
  } finally {
    client.close();
  }
}

async function endsWith(client, message) {
  const response_status = { code: grpc.status.UNKNOWN, message };
  const { status } = await unary(client, "UnaryCall", { response_status });
  assert.deepEqual([status.code, status.details], [grpc.status.UNKNOWN, message]);
  const stream = await exchange(client, "FullDuplexCall", [output([], { response_status })]);
  assert.deepEqual([stream.status.code, stream.status.details], [grpc.status.UNKNOWN, message]);
}

function echoed({ headers, status }) {
  assert.deepEqual(headers.get(INITIAL), ["test_initial_metadata_value"]);
  assert.deepEqual(status.metadata.get(TRAILING), [Buffer.from([0xab, 0xab, 0xab])]);
}

const cases = {
  async empty_unary(client) {
    assert.deepEqual(await unaryAnswer(client, "EmptyCall", {}), {});
  },
  large_unary: large,
  client_compressed_unary: () => compressing(large),
  async server_compressed_unary(client) {
    for (const value of [true, false]) {
      const request = simple({ response_compressed: { value } });
      zeros(await unaryAnswer(client, "UnaryCall", request), LARGE_RESPONSE);
    }
  },
  async client_streaming(client) {
    assert.equal(await upload(client, inputs()), 74922);
  },
  client_compressed_streaming: () =>
    compressing(async (client) => assert.equal(await upload(client, inputs()), 74922)),
  async server_streaming(client) {
    const { ended } = watch(client.StreamingOutputCall(output(RESPONSES), deadline()));
    assert.deepEqual(sizesOf(await ended), RESPONSES);
  },
  async server_compressed_streaming(client) {
    const response_parameters = [
      { size: 31415, compressed: { value: true } },
      { size: 92653, compressed: { value: false } },
    ];
    const { ended } = watch(client.StreamingOutputCall({ response_parameters }, deadline()));
    assert.deepEqual(sizesOf(await ended), [31415, 92653]);
  },
  async ping_pong(client) {
    const call = client.FullDuplexCall(deadline());
    const { ended, message } = watch(call);
    for (const [index, size] of REQUESTS.entries()) {
      call.write(output([RESPONSES[index]], { payload: payload(size) }));
      zeros(await message(index), RESPONSES[index]);
    }
    call.end();
    assert.deepEqual(sizesOf(await ended), RESPONSES);
  },
  async half_duplex(client) {
    const requests = RESPONSES.map((size) => output([size]));
    assert.deepEqual(sizesOf(await exchange(client, "HalfDuplexCall", requests)), RESPONSES);
  },
  async empty_stream(client) {
    assert.deepEqual(sizesOf(await exchange(client, "FullDuplexCall", [])), []);
  },
  async custom_metadata(client) {
    const sent = new grpc.Metadata();
    sent.add(INITIAL, "test_initial_metadata_value");
    sent.add(TRAILING, Buffer.from([0xab, 0xab, 0xab]));
    const one = await unary(client, "UnaryCall", simple(), sent);
    zeros(one.answer, LARGE_RESPONSE);
    echoed(one);
    const request = output([LARGE_RESPONSE], { payload: payload(LARGE_REQUEST) });
    const many = await exchange(client, "FullDuplexCall", [request], sent);
    assert.deepEqual(sizesOf(many), [LARGE_RESPONSE]);
    echoed(many);
  },
  status_code_and_message: (client) => endsWith(client, "test status message"),
  special_status_message: (client) => endsWith(client, SPECIAL),
  async unimplemented_method(client) {
    const { status } = await unary(client, "UnimplementedCall", {});
    assert.equal(status.code, grpc.status.UNIMPLEMENTED, status.details);
  },
  async unimplemented_service() {
    const client = new UnimplementedService(target, insecure);
    const { status } = await unary(client, "UnimplementedCall", {});
    client.close();
    assert.equal(status.code, grpc.status.UNIMPLEMENTED, status.details);
  },
  async cancel_after_begin(client) {
    const code = await new Promise((resolve) => {
      const call = client.StreamingInputCall(deadline(), (error) => resolve(error?.code));
      call.cancel();
    });
    assert.equal(code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response(client) {
    const call = client.FullDuplexCall(deadline());
    const { ended, message } = watch(call);
    call.write(output([31415], { payload: payload(27182) }));
    zeros(await message(0), 31415);
    call.cancel();
    assert.equal((await ended).status.code, grpc.status.CANCELLED);
  },
  async timeout_on_sleeping_server(client) {
    const call = client.FullDuplexCall({ deadline: Date.now() + 1 });
    const { ended } = watch(call);
    call.write(output([], { payload: payload(27182) }));
    assert.equal((await ended).status.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async rpc_soak(client) {
    for (let n = 0; n < 100; n++) await large(client);
  },
  async channel_soak() {
    for (let n = 0; n < 20; n++) {
      const client = connect();
      await large(client);
      client.close();
    }
  },
};

const client = connect();
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  if (plainServer && name.startsWith("client_compressed")) continue;
  let detail = "";
  try {
    await run(client);
  } catch (error) {
    failed += 1;
    detail = error.stack;
  }
  console.log(JSON.stringify({ check: `${name} (grpc-js)`, ok: detail === "", detail }));
}
client.close();
// Not waiting for the deadlines of calls that were cancelled.
process.exit(failed > 0 ? 1 : 0);

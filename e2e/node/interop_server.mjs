// grpc-js as the server of gRPC's interoperability tests. Prints where it listens.
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { INITIAL, TRAILING, TestService, payload } from "./protos.mjs";

// Sends the headers with the field that is to come back there; the trailers with the other one.
function echoMetadata(call) {
  const headers = new grpc.Metadata();
  const trailers = new grpc.Metadata();
  for (const value of call.metadata.get(INITIAL)) headers.add(INITIAL, value);
  for (const value of call.metadata.get(TRAILING)) trailers.add(TRAILING, value);
  call.sendMetadata(headers);
  return trailers;
}

const status = (wanted, metadata) => ({ code: wanted.code, details: wanted.message, metadata });

// Sends what one request asks for; false when it asked for the call to end.
async function answer(call, request, trailers) {
  if (request.response_status) {
    call.emit("error", status(request.response_status, trailers));
    return false;
  }
  for (const { size, interval_us } of request.response_parameters) {
    if (interval_us > 0) await sleep(interval_us / 1000);
    call.write({ payload: payload(size) });
  }
  return true;
}

async function answerAll(call, requests, trailers) {
  for await (const request of requests) {
    if (!(await answer(call, request, trailers))) return;
  }
  call.end(trailers);
}

// A caller that goes away ends the reading of its requests with an error, which concerns nobody.
const quietly = (work) => work.catch(() => {});

const service = {
  EmptyCall(call, done) {
    done(null, {}, echoMetadata(call));
  },
  UnaryCall(call, done) {
    const trailers = echoMetadata(call);
    const { response_status, response_size } = call.request;
    if (response_status) done(status(response_status, trailers));
    else done(null, { payload: payload(response_size) }, trailers);
  },
  StreamingOutputCall(call) {
    quietly(answerAll(call, [call.request], echoMetadata(call)));
  },
  StreamingInputCall(call, done) {
    const trailers = echoMetadata(call);
    let total = 0;
    call.on("data", (request) => (total += request.payload.body.length));
    call.on("error", () => {});
    call.on("end", () => done(null, { aggregated_payload_size: total }, trailers));
  },
  FullDuplexCall(call) {
    // Reading to the end must not destroy the side that is still to be written.
    const requests = call.iterator({ destroyOnReturn: false });
    quietly(answerAll(call, requests, echoMetadata(call)));
  },
  HalfDuplexCall(call) {
    const trailers = echoMetadata(call);
    const requests = [];
    call.on("data", (request) => requests.push(request));
    call.on("error", () => {});
    call.on("end", () => quietly(answerAll(call, requests, trailers)));
  },
};

const server = new grpc.Server();
// UnimplementedCall stays without a handler.
server.addService(TestService.service, service);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`interop server listening on 127.0.0.1:${port}`);
});

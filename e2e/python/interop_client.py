"""grpcio as the client of gRPC's interoperability tests, through the gateway at `--target`.

The cases and their numbers are those of gRPC's public description of the tests.
"""

import argparse
import threading

import grpc

from interop_protos import empty_pb2, messages_pb2, test_pb2_grpc
from report import DEADLINE, Report, equal, finish

LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
REQUESTS = [27182, 8, 1828, 45904]
RESPONSES = [31415, 9, 2653, 58979]
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
GZIP = grpc.Compression.Gzip


def payload(size):
    return messages_pb2.Payload(body=bytes(size))


def simple(**more):
    return messages_pb2.SimpleRequest(
        response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST), **more
    )


def output(sizes, compressed=(), **more):
    yes = messages_pb2.BoolValue(value=True)
    parameters = [
        messages_pb2.ResponseParameters(size=size, compressed=yes if size in compressed else None)
        for size in sizes
    ]
    return messages_pb2.StreamingOutputCallRequest(response_parameters=parameters, **more)


def zeros(answer, size):
    """An answer with a body of that many zeros."""
    equal(len(answer.payload.body), size)
    equal(answer.payload.body.count(0), size)


class Upload:
    """A request stream that the test feeds, and ends."""

    def __init__(self):
        self.items, self.more, self.over = [], threading.Condition(), False

    def send(self, item):
        with self.more:
            self.items.append(item)
            self.more.notify()

    def end(self):
        with self.more:
            self.over = True
            self.more.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self.more:
            if not self.more.wait_for(lambda: self.items or self.over, timeout=DEADLINE):
                raise StopIteration
            if self.items:
                return self.items.pop(0)
            raise StopIteration


def fails(code, call):
    """The error of a call that must end with `code`."""
    try:
        answer = call()
    except grpc.RpcError as error:
        equal(error.code(), code)
        return error
    raise AssertionError(f"it answered {str(answer)[:100]}, wanted {code}")


def empty_unary(stub):
    equal(stub.EmptyCall(empty_pb2.Empty(), timeout=DEADLINE), empty_pb2.Empty())


def large_unary(stub):
    zeros(stub.UnaryCall(simple(), timeout=DEADLINE), LARGE_RESPONSE)


def client_compressed_unary(stub):
    zeros(stub.UnaryCall(simple(), timeout=DEADLINE, compression=GZIP), LARGE_RESPONSE)
    zeros(stub.UnaryCall(simple(), timeout=DEADLINE), LARGE_RESPONSE)


def server_compressed_unary(stub):
    for compressed in [True, False]:
        wanted = messages_pb2.BoolValue(value=compressed)
        answer = stub.UnaryCall(simple(response_compressed=wanted), timeout=DEADLINE)
        zeros(answer, LARGE_RESPONSE)


def inputs():
    return [messages_pb2.StreamingInputCallRequest(payload=payload(size)) for size in REQUESTS]


def client_streaming(stub):
    answer = stub.StreamingInputCall(iter(inputs()), timeout=DEADLINE)
    equal(answer.aggregated_payload_size, 74922)


def client_compressed_streaming(stub):
    answer = stub.StreamingInputCall(iter(inputs()), timeout=DEADLINE, compression=GZIP)
    equal(answer.aggregated_payload_size, 74922)


def all_of(answers, sizes):
    answers = list(answers)
    equal([len(answer.payload.body) for answer in answers], sizes)


def server_streaming(stub):
    all_of(stub.StreamingOutputCall(output(RESPONSES), timeout=DEADLINE), RESPONSES)


def server_compressed_streaming(stub):
    sizes = [31415, 92653]
    request = output(sizes, compressed=[31415])
    all_of(stub.StreamingOutputCall(request, timeout=DEADLINE), sizes)


def ping_pong(stub):
    upload = Upload()
    answers = stub.FullDuplexCall(upload, timeout=DEADLINE)
    for request, response in zip(REQUESTS, RESPONSES):
        upload.send(output([response], payload=payload(request)))
        zeros(next(answers), response)
    upload.end()
    equal(list(answers), [])


def half_duplex(stub):
    requests = [output([size]) for size in RESPONSES]
    all_of(stub.HalfDuplexCall(iter(requests), timeout=DEADLINE), RESPONSES)


def empty_stream(stub):
    equal(list(stub.FullDuplexCall(iter([]), timeout=DEADLINE)), [])


def echoed(call):
    equal([e.value for e in call.initial_metadata() if e.key == INITIAL[0]], [INITIAL[1]])
    equal([e.value for e in call.trailing_metadata() if e.key == TRAILING[0]], [TRAILING[1]])


def custom_metadata(stub):
    sent = [INITIAL, TRAILING]
    answer, call = stub.UnaryCall.with_call(simple(), metadata=sent, timeout=DEADLINE)
    zeros(answer, LARGE_RESPONSE)
    echoed(call)
    requests = iter([output([LARGE_RESPONSE], payload=payload(LARGE_REQUEST))])
    call = stub.FullDuplexCall(requests, metadata=sent, timeout=DEADLINE)
    all_of(call, [LARGE_RESPONSE])
    echoed(call)


def ends_with(stub, message):
    status = messages_pb2.EchoStatus(code=2, message=message)
    unary = messages_pb2.SimpleRequest(response_status=status)
    error = fails(grpc.StatusCode.UNKNOWN, lambda: stub.UnaryCall(unary, timeout=DEADLINE))
    equal(error.details(), message)
    request = iter([output([], response_status=status)])
    call = stub.FullDuplexCall(request, timeout=DEADLINE)
    error = fails(grpc.StatusCode.UNKNOWN, lambda: list(call))
    equal(error.details(), message)


def status_code_and_message(stub):
    ends_with(stub, "test status message")


def special_status_message(stub):
    ends_with(stub, SPECIAL)


def unimplemented_method(stub):
    call = lambda: stub.UnimplementedCall(empty_pb2.Empty(), timeout=DEADLINE)  # noqa: E731
    fails(grpc.StatusCode.UNIMPLEMENTED, call)


def cancel_after_begin(stub):
    upload = Upload()
    call = stub.StreamingInputCall.future(upload, timeout=DEADLINE)
    call.cancel()
    equal(call.cancelled(), True)
    equal(call.code(), grpc.StatusCode.CANCELLED)
    upload.end()


def cancel_after_first_response(stub):
    upload = Upload()
    call = stub.FullDuplexCall(upload, timeout=DEADLINE)
    upload.send(output([31415], payload=payload(27182)))
    zeros(next(call), 31415)
    call.cancel()
    fails(grpc.StatusCode.CANCELLED, lambda: next(call))
    upload.end()


def timeout_on_sleeping_server(stub):
    upload = Upload()
    upload.send(output([], payload=payload(27182)))
    call = stub.FullDuplexCall(upload, timeout=0.001)
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(call))
    upload.end()


def rpc_soak(stub):
    for _ in range(100):
        zeros(stub.UnaryCall(simple(), timeout=DEADLINE), LARGE_RESPONSE)


CASES = [
    empty_unary,
    large_unary,
    client_compressed_unary,
    server_compressed_unary,
    client_streaming,
    client_compressed_streaming,
    server_streaming,
    server_compressed_streaming,
    ping_pong,
    half_duplex,
    empty_stream,
    custom_metadata,
    status_code_and_message,
    special_status_message,
    unimplemented_method,
    cancel_after_begin,
    cancel_after_first_response,
    timeout_on_sleeping_server,
    rpc_soak,
]


def unimplemented_service(channel):
    stub = test_pb2_grpc.UnimplementedServiceStub(channel)
    call = lambda: stub.UnimplementedCall(empty_pb2.Empty(), timeout=DEADLINE)  # noqa: E731
    fails(grpc.StatusCode.UNIMPLEMENTED, call)


def open_channel(target, ca, options=()):
    if not ca:
        return grpc.insecure_channel(target, options=options)
    with open(ca, "rb") as file:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()), options=options)


def channel_soak(target, ca):
    for _ in range(20):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with open_channel(target, ca, options) as channel:
            large_unary(test_pb2_grpc.TestServiceStub(channel))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--plain-server", action="store_true", help="it cannot decompress")
    parser.add_argument("--ca", help="speak TLS with who this PEM file vouches for")
    arguments = parser.parse_args()
    target = arguments.target
    report = Report("grpcio")
    with open_channel(target, arguments.ca) as channel:
        stub = test_pb2_grpc.TestServiceStub(channel)
        for case in CASES:
            if arguments.plain_server and case.__name__.startswith("client_compressed"):
                continue
            report.check(case.__name__, case, stub)
        report.check("unimplemented_service", unimplemented_service, channel)
    report.check("channel_soak", channel_soak, target, arguments.ca)
    finish(report)


if __name__ == "__main__":
    main()

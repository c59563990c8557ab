"""grpcio's own client calls `acme.weather.v3.Station` through the gateway, with plain bytes.

`--target` (repeat): a proxy each. `--engine`: where the engine itself listens, to ask what it has seen.
"""

import argparse
import json
import threading
from concurrent import futures

import grpc
from grpc_status import rpc_status
from google.rpc import error_details_pb2

from report import DEADLINE, Report, equal, finish, short, until

SERVICE = "/acme.weather.v3.Station/"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A channel of its own for every proxy and check, not one shared by the process.
    ("grpc.use_local_subchannel_pool", 1),
]


class Client:
    """The four kinds of calls, bytes in and bytes out."""

    def __init__(self, target):
        self.channel = grpc.insecure_channel(target, options=OPTIONS)

    def unary(self, method, service=SERVICE):
        return self.channel.unary_unary(service + method)

    def server_stream(self, method):
        return self.channel.unary_stream(SERVICE + method)

    def client_stream(self, method):
        return self.channel.stream_unary(SERVICE + method)

    def bidi(self, method):
        return self.channel.stream_stream(SERVICE + method)


def fails(call, code):
    """The error of a call that must fail with `code`."""
    try:
        answer = call()
    except grpc.RpcError as error:
        equal(error.code(), code)
        return error
    raise AssertionError(f"it answered {short(answer)}, wanted {code}")


def unary(client):
    for payload in [b"", b"\x00\xff bytes", b"x" * 20_000]:
        equal(client.unary("Unary")(payload, timeout=DEADLINE), payload)


def server_stream(client):
    for count in [0, 1, 500]:
        answers = list(client.server_stream("ServerStream")(str(count).encode(), timeout=DEADLINE))
        equal(answers, [str(index).encode() for index in range(count)])


def client_stream(client):
    for count in [0, 1, 500]:
        parts = [f"{index};".encode() for index in range(count)]
        answer = client.client_stream("ClientStream")(iter(parts), timeout=DEADLINE)
        equal(answer, b"".join(parts))


def bidi_alternates(client):
    """Each answer comes before the next question is asked."""
    go_on = threading.Semaphore(1)

    def questions():
        for index in range(50):
            if not go_on.acquire(timeout=DEADLINE):
                return
            yield f"q{index}".encode()

    answers = []
    for answer in client.bidi("Bidi")(questions(), timeout=DEADLINE):
        answers.append(answer)
        go_on.release()
    equal(answers, [f"re:q{index}".encode() for index in range(50)] + [b"done"])


def bidi_empty(client):
    equal(list(client.bidi("Bidi")(iter([]), timeout=DEADLINE)), [b"done"])


def early_answer(client):
    """The engine ends the call while the caller is still sending."""
    never = threading.Event()

    def questions():
        yield b"one"
        never.wait(DEADLINE)

    answer = client.client_stream("Early")(questions(), timeout=DEADLINE)
    never.set()
    equal(answer, b"enough after one")


def metadata_both_ways(client):
    sent = [
        ("echo-text", "first"),
        ("echo-text", "second"),
        ("echo-list", "a, b,c"),
        ("echo-blob-bin", b"\x00\x01\xfe\xff"),
        ("echo-blob-bin", b"again"),
        ("echo-empty", ""),
    ]
    answer, call = client.unary("Unary").with_call(b"x", metadata=sent, timeout=DEADLINE)
    initial = [(e.key, e.value) for e in call.initial_metadata() if e.key.startswith("echo-")]
    trailing = [(e.key, e.value) for e in call.trailing_metadata() if e.key.startswith("trailer-")]
    equal(sorted(initial, key=str), sorted(sent, key=str))
    equal(sorted(trailing, key=str), sorted([("trailer-" + k[5:], v) for k, v in sent], key=str))
    equal([v for k, v in initial if k == "echo-text"], ["first", "second"])


def head_arrives(client):
    """What the engine sees of the caller's head."""
    sent = [("x-one", "1"), ("x-two", "a"), ("x-two", "b"), ("x-raw-bin", b"\xde\xad")]
    seen = json.loads(client.unary("Head")(b"", metadata=sent, timeout=DEADLINE))
    pairs = [tuple(pair) for pair in seen["metadata"]]
    for pair in [("x-one", "1"), ("x-two", "a"), ("x-two", "b"), ("x-raw-bin", "dead")]:
        if pair not in pairs:
            raise AssertionError(f"{pair} is not in {pairs}")
    agent = dict(pairs).get("user-agent", "")
    if "grpc-python" not in agent:
        raise AssertionError(f"user-agent: {agent}")


def deadline_travels(client):
    seen = json.loads(client.unary("Head")(b"", timeout=7))
    # grpcio itself rounds up by a few milliseconds.
    if not 0 < seen["remaining"] <= 7.1:
        raise AssertionError(f"the engine has {seen['remaining']} s left of 7")
    seen = json.loads(client.unary("Head")(b""))
    if seen["remaining"] is not None and seen["remaining"] < 10_000:
        raise AssertionError(f"a deadline of {seen['remaining']} s out of nothing")


def initial_metadata_before_messages(client):
    """The engine's headers arrive while neither side has sent a message."""
    begin = threading.Event()

    def questions():
        if begin.wait(DEADLINE):
            yield b"late"

    call = client.bidi("Bidi")(questions(), metadata=[("echo-first", "yes")], timeout=DEADLINE)
    headers = futures.ThreadPoolExecutor(1).submit(call.initial_metadata).result(5)
    equal([e.value for e in headers if e.key == "echo-first"], ["yes"])
    begin.set()
    equal(list(call), [b"re:late", b"done"])


def every_status(client):
    for number in range(1, 17):
        code = next(code for code in grpc.StatusCode if code.value[0] == number)
        message = f"code {number}: 100% Grüße, 日本\n2nd line"
        request = json.dumps({"code": number, "message": message}).encode()
        sent = [("echo-k", "v")]
        error = fails(
            lambda: client.unary("Fail")(request, metadata=sent, timeout=DEADLINE), code
        )
        equal(error.details(), message)
        equal([e.value for e in error.trailing_metadata() if e.key == "trailer-k"], ["v"])


def rich_error(client):
    request = json.dumps({"message": "no flying today", "rich": True}).encode()
    call = lambda: client.unary("Fail")(request, timeout=DEADLINE)  # noqa: E731
    error = fails(call, grpc.StatusCode.FAILED_PRECONDITION)
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    equal(status.details[0].Unpack(info), True)
    equal((info.reason, info.domain), ("STORM", "acme.example"))


def counts(engine):
    return json.loads(engine.unary("Counts")(b"", timeout=DEADLINE))


def deadline_expires(client, engine):
    before = counts(engine)["cancelled"]
    call = client.server_stream("Hang")(b"", timeout=0.5)
    fails(lambda: list(call), grpc.StatusCode.DEADLINE_EXCEEDED)
    until("the engine notices the deadline", lambda: counts(engine)["cancelled"] > before)


def cancel_after_first_message(client, engine):
    before = counts(engine)["cancelled"]
    call = client.server_stream("Hang")(b"")
    equal(next(call), b"here")
    call.cancel()
    until("the engine notices the cancellation", lambda: counts(engine)["cancelled"] > before)
    until("the engine has no call left", lambda: counts(engine)["open"] == 0)


def cancel_after_begin(client, engine):
    before = counts(engine)["calls"]
    never = threading.Event()
    call = client.client_stream("ClientStream").future(iter(never.wait, True))
    until("the engine has the call", lambda: counts(engine)["calls"] > before)
    call.cancel()
    fails_code = call.code()
    equal(fails_code, grpc.StatusCode.CANCELLED)
    until("the engine has no call left", lambda: counts(engine)["open"] == 0)
    never.set()


def large_messages(client):
    payload = bytes(range(256)) * (5 * 4096)  # 5 MiB that a window cannot hold
    equal(client.unary("Unary")(payload, timeout=DEADLINE) == payload, True)
    half = [payload[: len(payload) // 2]] * 2
    answer = client.client_stream("ClientStream")(iter(half), timeout=DEADLINE)
    equal(answer == half[0] * 2, True)
    answers = list(client.bidi("Bidi")(iter([payload] * 3), timeout=DEADLINE))
    equal([len(answer) for answer in answers], [len(payload) + 3] * 3 + [4])


def compression(client):
    payload = b"the same again and again; " * 50_000
    for algorithm in [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression]:
        answer = client.unary("Unary")(payload, compression=algorithm, timeout=DEADLINE)
        equal(answer == payload, True)
        answers = list(client.bidi("Bidi")(iter([payload]), compression=algorithm, timeout=DEADLINE))
        equal(answers == [b"re:" + payload, b"done"], True)


def unknown_method(client):
    fails(lambda: client.unary("Nothing")(b"", timeout=DEADLINE), grpc.StatusCode.UNIMPLEMENTED)


def unknown_service(client):
    call = client.unary("M", service="/acme.weather.v3.Nowhere/")
    error = fails(lambda: call(b"", timeout=DEADLINE), grpc.StatusCode.UNIMPLEMENTED)
    reasons = [e.value for e in error.trailing_metadata() if e.key == "pigeon-reason"]
    equal(reasons, ["no_route"])
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    equal(status is not None and status.details[0].Unpack(info), True)
    if not info.reason:
        raise AssertionError(f"an ErrorInfo without a reason: {info}")


def a_thousand_calls(client):
    call = client.unary("Unary")
    for index in range(1000):
        payload = str(index).encode()
        equal(call(payload, timeout=DEADLINE), payload)


def many_at_once(client):
    call = client.unary("Unary")
    with futures.ThreadPoolExecutor(16) as pool:
        payloads = [f"{index}".encode() * 50 for index in range(600)]
        answers = list(pool.map(lambda payload: call(payload, timeout=DEADLINE), payloads))
    equal(answers == payloads, True)


ALONE = [
    unary, server_stream, client_stream, bidi_alternates, bidi_empty, early_answer,
    metadata_both_ways, head_arrives, deadline_travels, initial_metadata_before_messages,
    every_status, rich_error, large_messages, compression, unknown_method,
    unknown_service, a_thousand_calls, many_at_once,
]
WITH_ENGINE = [deadline_expires, cancel_after_first_message, cancel_after_begin]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--engine", required=True)
    arguments = parser.parse_args()
    engine = Client(arguments.engine)
    reports = []
    for target in arguments.target:
        report, client = Report(target), Client(target)
        reports.append(report)
        for check in ALONE:
            report.check(check.__name__, check, client)
        for check in WITH_ENGINE:
            report.check(check.__name__, check, client, engine)
    finish(*reports)


if __name__ == "__main__":
    main()

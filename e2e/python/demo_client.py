"""grpcio's own client calls the demo engines through the gateway, with code generated from the protos.

`--target` (repeat): a proxy each. `--engine` (repeat): the engines themselves, to ask what they saw.
`--protos`: the folder that holds `pigeon/demo/v1/demo.proto`.
"""

import argparse
import sys
import tempfile
import threading

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

from report import DEADLINE, Report, equal, finish, until

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


def generate(protos, into):
    """Makes Python modules of the demo proto, as a user of it would."""
    name = "pigeon/demo/v1/demo.proto"
    code = protoc.main(
        ["protoc", f"-I{protos}", f"--python_out={into}", f"--grpc_python_out={into}", name]
    )
    equal(code, 0)
    sys.path.insert(0, into)


class Demo:
    """The stubs of all demo services on one channel."""

    def __init__(self, target):
        from pigeon.demo.v1 import demo_pb2, demo_pb2_grpc

        self.pb = demo_pb2
        self.channel = grpc.insecure_channel(target, options=OPTIONS)
        self.speech = demo_pb2_grpc.SpeechStub(self.channel)
        self.chat = demo_pb2_grpc.ChatStub(self.channel)
        self.echo = demo_pb2_grpc.EchoStub(self.channel)

    def audio(self, chunks):
        return [self.pb.Audio(data=chunk) for chunk in chunks]


def values(metadata, key):
    return [e.value for e in metadata if e.key == key]


def fails(call, code):
    try:
        answer = call()
    except grpc.RpcError as error:
        equal(error.code(), code)
        return error
    raise AssertionError(f"it answered {answer!r:.200}, wanted {code}")


def seen(engines, count):
    """A count of all engines together."""
    replies = [e.echo.Stats(e.pb.StatsRequest(), timeout=DEADLINE) for e in engines]
    return sum(getattr(reply, count) for reply in replies)


def ping(demo, engines):
    sent = [("demo-echo-a", "1"), ("demo-echo-a", "2"), ("demo-echo-b-bin", b"\x00\xff")]
    reply, call = demo.echo.Ping.with_call(
        demo.pb.PingRequest(payload=b"hello"), metadata=sent, timeout=DEADLINE
    )
    equal(reply.payload, b"hello")
    for metadata in [call.initial_metadata(), call.trailing_metadata()]:
        equal(values(metadata, "demo-echo-a"), ["1", "2"])
        equal(values(metadata, "demo-echo-b-bin"), [b"\x00\xff"])
        equal(values(metadata, "demo-engine"), [reply.engine])


def both_engines_answer(demo, engines):
    names = set()

    def all_named():
        names.add(demo.echo.Ping(demo.pb.PingRequest(), timeout=DEADLINE).engine)
        return len(names) == len(engines)

    until("every engine answers once", all_named)


def generate_tokens(demo, engines):
    prompt = demo.pb.Prompt(text="the quick brown fox", tokens=6)
    tokens = list(demo.chat.Generate(prompt, timeout=DEADLINE))
    equal([t.text for t in tokens], "the quick brown fox the quick".split())
    equal([t.index for t in tokens], list(range(6)))


def no_tokens(demo, engines):
    equal(list(demo.chat.Generate(demo.pb.Prompt(), timeout=DEADLINE)), [])


def transcribe(demo, engines):
    answer = demo.speech.Transcribe(iter(demo.audio([b"abc", b"de"])), timeout=DEADLINE)
    equal((answer.heard, answer.final), (5, True))


def recognize(demo, engines):
    """A partial for every chunk before the next is sent, then the final one."""
    answered = threading.Semaphore(1)

    def chunks():
        for chunk in demo.audio([b"1", b"22", b"333"]):
            if not answered.acquire(timeout=DEADLINE):
                return
            yield chunk

    transcripts = []
    for transcript in demo.speech.Recognize(chunks(), timeout=DEADLINE):
        transcripts.append((transcript.heard, transcript.final))
        answered.release()
    equal(transcripts, [(1, False), (3, False), (6, False), (6, True)])


def error_details(demo, engines):
    knobs = [("demo-fail", "9"), ("demo-echo-x", "y")]
    call = lambda: demo.echo.Ping(demo.pb.PingRequest(), metadata=knobs, timeout=DEADLINE)  # noqa: E731
    error = fails(call, grpc.StatusCode.FAILED_PRECONDITION)
    equal(error.details(), "demo failure")
    equal(values(error.trailing_metadata(), "pigeon-reason"), [])
    info = error_details_pb2.ErrorInfo()
    equal(rpc_status.from_call(error).details[0].Unpack(info), True)
    equal((info.reason, info.domain), ("DEMO_FAULT", "pigeon.demo"))


def error_after_messages(demo, engines):
    knobs = [("demo-fail", "14"), ("demo-fail-after", "2"), ("demo-echo-x", "y")]
    call = demo.chat.Generate(demo.pb.Prompt(text="a b c d"), metadata=knobs, timeout=DEADLINE)
    tokens = []
    error = fails(lambda: tokens.extend(iter(call)), grpc.StatusCode.UNAVAILABLE)
    equal([t.text for t in tokens], ["a", "b"])
    equal(values(error.trailing_metadata(), "demo-echo-x"), ["y"])
    info = error_details_pb2.ErrorInfo()
    equal(rpc_status.from_call(error).details[0].Unpack(info), True)
    equal(info.reason, "DEMO_FAULT")


def deadline_is_forwarded(demo, engines):
    _, call = demo.echo.Ping.with_call(demo.pb.PingRequest(), timeout=9)
    (timeout,) = values(call.initial_metadata(), "demo-seen-timeout")
    units = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1, "M": 60, "H": 3600}
    left = int(timeout[:-1]) * units[timeout[-1]]
    # grpcio itself rounds up by a few milliseconds.
    if not 0 < left <= 9.1:
        raise AssertionError(f"the engine was given {timeout} of 9 s")
    _, call = demo.echo.Ping.with_call(demo.pb.PingRequest())
    equal(values(call.initial_metadata(), "demo-seen-timeout"), [])


def deadline_expires(demo, engines):
    before = seen(engines, "cancelled")
    knobs = [("demo-delay-ms", "60000")]
    call = lambda: demo.echo.Ping(demo.pb.PingRequest(), metadata=knobs, timeout=0.4)  # noqa: E731
    fails(call, grpc.StatusCode.DEADLINE_EXCEEDED)
    until("the engine notices", lambda: seen(engines, "cancelled") > before)


def cancel_is_seen(demo, engines):
    before = seen(engines, "cancelled")
    never = threading.Event()

    def chunks():
        yield demo.pb.Audio(data=b"x")
        never.wait(DEADLINE)

    call = demo.speech.Recognize(chunks())
    equal(next(call).heard, 1)
    call.cancel()
    until("the engine notices", lambda: seen(engines, "cancelled") > before)
    until("no call is left", lambda: seen(engines, "concurrent_now") == 0)
    never.set()


def large(demo, engines):
    payload = b"\x5a\x00\xff\x01" * (6 << 18)  # 6 MiB
    for compression in [None, grpc.Compression.Gzip]:
        request = demo.pb.PingRequest(payload=payload)
        try:
            reply = demo.echo.Ping(request, compression=compression, timeout=DEADLINE)
        except grpc.RpcError as error:
            # The demo engine itself takes no compressed messages, and says so in gRPC's own way.
            equal((compression, error.code()), (grpc.Compression.Gzip, grpc.StatusCode.UNIMPLEMENTED))
            continue
        equal(reply.payload == payload, True)


def unknown_method(demo, engines):
    call = demo.channel.unary_unary("/pigeon.demo.v1.Echo/NoSuchMethod")
    error = fails(lambda: call(b"", timeout=DEADLINE), grpc.StatusCode.UNIMPLEMENTED)
    equal(values(error.trailing_metadata(), "pigeon-reason"), [])


CHECKS = [
    ping, both_engines_answer, generate_tokens, no_tokens, transcribe, recognize, error_details,
    error_after_messages, deadline_is_forwarded, deadline_expires, cancel_is_seen, large,
    unknown_method,
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--engine", action="append", required=True)
    parser.add_argument("--protos", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as generated:
        generate(arguments.protos, generated)
        engines = [Demo(address) for address in arguments.engine]
        reports = []
        for target in arguments.target:
            report, demo = Report(target), Demo(target)
            reports.append(report)
            for check in CHECKS:
                report.check(check.__name__, check, demo, engines)
        finish(*reports)


if __name__ == "__main__":
    main()

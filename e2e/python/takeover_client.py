"""Callers that share one gateway while it is replaced: grpcio with unary calls and server streams, and HTTP/1.1
with connections kept alive. At about 200 calls a second, until a file appears.

Fails with what went wrong if any call failed. Nothing here tries a call again; what grpcio does by itself (calls
that a GOAWAY says were not seen) is what it does for everybody.
"""

import argparse
import http.client
import os
import ssl
import sys
import threading
import time

import grpc

PING = "/pigeon.demo.v1.Echo/Ping"
GENERATE = "/pigeon.demo.v1.Chat/Generate"
# Prompt: field 1, the text; field 2, the tokens.
TOKENS = 20
PROMPT = b"\x0a\x05a b c\x10" + bytes([TOKENS])
PAUSE = 0.02


def repeat(arguments, failures, counts, name, call):
    while not os.path.exists(arguments.until):
        try:
            call()
            counts[name] = counts.get(name, 0) + 1
        except Exception as error:  # noqa: BLE001 - whatever it is, a call failed.
            said = error.details() if isinstance(error, grpc.Call) else error
            failures.append(f"{name} after {counts.get(name, 0)}: {type(error).__name__} {said}")
        time.sleep(PAUSE)


def channel(target, ca):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.min_reconnect_backoff_ms", 50)]
    if not ca:
        return grpc.insecure_channel(target, options=options)
    with open(ca, "rb") as file:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()), options=options)


def unary(target, ca):
    ping = channel(target, ca).unary_unary(PING)
    return lambda: ping(b"", timeout=30)


def stream(target, ca):
    generate = channel(target, ca).unary_stream(GENERATE)

    def call():
        tokens = len(list(generate(PROMPT, timeout=60, metadata=[("demo-gap-ms", "50")])))
        if tokens != TOKENS:
            raise AssertionError(f"{tokens} tokens of {TOKENS}")

    return call


def fresh(target, ca):
    """A connection for each call, which shows each new certificate at once."""

    def call():
        with channel(target, ca) as one:
            one.unary_unary(PING)(b"", timeout=30)

    return call


def kept_alive(target, ca):
    if ca:
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(target, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(target, timeout=30)

    def call():
        # Opens another connection only where the answer before said "connection: close".
        connection.request("GET", "/hello")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise AssertionError(f"{answer.status} {answer.headers}")

    return call


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--until", required=True)
    parser.add_argument("--ca", help="speak TLS with who this PEM file vouches for")
    arguments = parser.parse_args()
    kinds = [(unary, 3), (stream, 4), (kept_alive, 3)] + ([(fresh, 2)] if arguments.ca else [])
    failures, counts = [], {}
    threads = []
    for kind, callers in kinds:
        for n in range(callers):
            of = (arguments, failures, counts, f"{kind.__name__} {n}", kind(arguments.target, arguments.ca))
            threads.append(threading.Thread(target=repeat, args=of))
    for thread in threads:
        thread.start()
    print("calling", flush=True)
    for thread in threads:
        thread.join()
    print(counts, flush=True)
    if failures:
        sys.exit(f"{len(failures)} of {sum(counts.values())} calls failed:\n" + "\n".join(failures[:10]))


if __name__ == "__main__":
    main()

"""grpcio with several gateways as its targets calls without a pause, until a file appears.

Fails with what went wrong if any call failed. Calls that a gateway has not taken yet are the library's to
send to another one; it does that by itself, and nothing here tries again.
"""

import argparse
import os
import sys
import threading

import grpc

PING = "/pigeon.demo.v1.Echo/Ping"
CALLERS = 4


def call(ping, until, failures):
    while not os.path.exists(until):
        try:
            ping(b"", timeout=30, wait_for_ready=True)
        except grpc.RpcError as error:
            failures.append(f"{error.code()}: {error.details()}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--until", required=True)
    arguments = parser.parse_args()
    policy = '{"loadBalancingConfig": [{"round_robin": {}}]}'
    options = [
        ("grpc.service_config", policy),
        # Made of several addresses the library's own would be none.
        ("grpc.default_authority", "demo.test"),
        # A gateway that comes back is used again at once.
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    failures = []
    with grpc.insecure_channel("ipv4:" + ",".join(arguments.target), options=options) as channel:
        ping = channel.unary_unary(PING)
        ping(b"", timeout=30, wait_for_ready=True)
        print("calling", flush=True)
        of = (ping, arguments.until, failures)
        threads = [threading.Thread(target=call, args=of) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        sys.exit(f"{len(failures)} calls failed, the first with {failures[0]}")


if __name__ == "__main__":
    main()

"""grpcio calls the demo engine with an API key: in the metadata `token` and as a bearer.

`--target`: a proxy. `--key`: the key. `--refused`: the key is to be refused.
"""

import argparse

import grpc

from report import DEADLINE, Report, equal, finish

PING = "/pigeon.demo.v1.Echo/Ping"


def code(ping, metadata):
    """OK, or the error's code."""
    try:
        ping(b"", timeout=DEADLINE, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--refused", action="store_true")
    arguments = parser.parse_args()
    report = Report(arguments.target)
    wanted = grpc.StatusCode.UNAUTHENTICATED if arguments.refused else grpc.StatusCode.OK
    with grpc.insecure_channel(arguments.target) as channel:
        ping = channel.unary_unary(PING)
        for place in [("token", arguments.key), ("authorization", f"Bearer {arguments.key}")]:
            # Again on the same connection: then the head is known.
            for n in range(3):
                report.check(f"{place[0]} {n}", lambda: equal(code(ping, [place]), wanted))
        none = lambda: equal(code(ping, []), grpc.StatusCode.UNAUTHENTICATED)  # noqa: E731
        report.check("nothing", none)
    finish(report)


if __name__ == "__main__":
    main()

"""An engine that nobody of this project wrote: grpcio's own server, a service of plain bytes.

Speaks `acme.weather.v3.Station`, which no gateway has ever heard of. Prints where it listens.
Metadata: every `echo-*` entry comes back in the initial metadata, and as `trailer-*` in the trailers.
"""

import argparse
import json
import threading
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

SERVICE = "acme.weather.v3.Station"


class Station(grpc.GenericRpcHandler):
    """Methods by name; all take and give bytes as they are."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {"calls": 0, "cancelled": 0, "open": 0}
        self.kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self.server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self.client_stream),
            "Bidi": grpc.stream_stream_rpc_method_handler(self.bidi),
            "Early": grpc.stream_unary_rpc_method_handler(self.early),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Hang": grpc.unary_stream_rpc_method_handler(self.hang),
            "Head": grpc.unary_unary_rpc_method_handler(self.head),
            "Counts": grpc.unary_unary_rpc_method_handler(self.show_counts),
        }

    def service(self, details):
        service, _, method = details.method.lstrip("/").partition("/")
        return self.kinds.get(method) if service == SERVICE else None

    def begin(self, context):
        """Counts the call, answers its metadata at once."""
        echoed = [e for e in context.invocation_metadata() if e.key.startswith("echo-")]
        context.send_initial_metadata([(e.key, e.value) for e in echoed])
        context.set_trailing_metadata([(f"trailer-{e.key[5:]}", e.value) for e in echoed])
        with self.lock:
            self.counts["calls"] += 1
            self.counts["open"] += 1

        def ended():
            with self.lock:
                self.counts["open"] -= 1

        if not context.add_callback(ended):
            ended()

    def unary(self, request, context):
        self.begin(context)
        return request

    def server_stream(self, request, context):
        """`N` as text: N messages of their index."""
        self.begin(context)
        for index in range(int(request)):
            yield str(index).encode()

    def client_stream(self, requests, context):
        self.begin(context)
        return b"".join(requests)

    def bidi(self, requests, context):
        self.begin(context)
        for request in requests:
            yield b"re:" + request
        yield b"done"

    def early(self, requests, context):
        """Answers after the first message, while the caller still sends."""
        self.begin(context)
        return b"enough after " + next(requests)

    def fail(self, request, context):
        """`{"code": 5, "message": "…", "rich": true}`"""
        self.begin(context)
        wanted = json.loads(request)
        if wanted.get("rich"):
            detail = any_pb2.Any()
            detail.Pack(error_details_pb2.ErrorInfo(reason="STORM", domain="acme.example"))
            status = status_pb2.Status(
                code=code_pb2.FAILED_PRECONDITION, message=wanted["message"], details=[detail]
            )
            context.abort_with_status(rpc_status.to_status(status))
        code = next(code for code in grpc.StatusCode if code.value[0] == wanted["code"])
        context.abort(code, wanted["message"])

    def hang(self, request, context):
        """One message, then nothing until the caller goes away."""
        self.begin(context)
        gone = threading.Event()

        def noticed():
            with self.lock:
                self.counts["cancelled"] += 1
            gone.set()

        if context.add_callback(noticed):
            yield b"here"
            gone.wait(60)
        else:
            noticed()

    def head(self, request, context):
        """What arrived: all metadata, the deadline, the caller's name for the host."""
        self.begin(context)
        pairs = [(e.key, e.value if isinstance(e.value, str) else e.value.hex())
                 for e in context.invocation_metadata()]
        remaining = context.time_remaining()
        return json.dumps({"metadata": pairs, "remaining": remaining}).encode()

    def show_counts(self, request, context):
        with self.lock:
            return json.dumps(self.counts).encode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    arguments = parser.parse_args()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    pool = futures.ThreadPoolExecutor(max_workers=64)
    server = grpc.server(pool, options=options, compression=grpc.Compression.Gzip)
    server.add_generic_rpc_handlers((Station(),))
    port = server.add_insecure_port(arguments.listen)
    server.start()
    print(f"generic engine listening on {arguments.listen.rsplit(':', 1)[0]}:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()

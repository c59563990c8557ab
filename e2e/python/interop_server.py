"""grpcio as the server of gRPC's interoperability tests. Prints where it listens."""

import argparse
import time
from concurrent import futures

import grpc

from interop_protos import empty_pb2, messages_pb2, test_pb2_grpc

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def payload(size):
    return messages_pb2.Payload(body=bytes(size))


def echo_metadata(context):
    """Two fields come back, one with the headers and one with the trailers."""
    for entry in context.invocation_metadata():
        if entry.key == INITIAL:
            context.send_initial_metadata([(INITIAL, entry.value)])
        elif entry.key == TRAILING:
            context.set_trailing_metadata([(TRAILING, entry.value)])


def end_as_asked(request, context):
    if request.HasField("response_status"):
        status = request.response_status
        context.abort(CODES[status.code], status.message)


class TestService(test_pb2_grpc.TestServiceServicer):
    """Every method but UnimplementedCall."""

    def EmptyCall(self, request, context):
        echo_metadata(context)
        return empty_pb2.Empty()

    def UnaryCall(self, request, context):
        echo_metadata(context)
        end_as_asked(request, context)
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        return messages_pb2.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, context):
        echo_metadata(context)
        if any(wanted.compressed.value for wanted in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        yield from self.answers(request, context)

    def answers(self, request, context):
        end_as_asked(request, context)
        for wanted in request.response_parameters:
            time.sleep(wanted.interval_us / 1e6)
            if request.response_parameters and not wanted.compressed.value:
                context.disable_next_message_compression()
            yield messages_pb2.StreamingOutputCallResponse(payload=payload(wanted.size))

    def StreamingInputCall(self, requests, context):
        echo_metadata(context)
        total = sum(len(request.payload.body) for request in requests)
        return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=total)

    def FullDuplexCall(self, requests, context):
        echo_metadata(context)
        for request in requests:
            yield from self.answers(request, context)

    def HalfDuplexCall(self, requests, context):
        echo_metadata(context)
        for request in list(requests):
            yield from self.answers(request, context)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--certificate", help="PEM; speak TLS")
    parser.add_argument("--key", help="PEM, of the certificate")
    arguments = parser.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    test_pb2_grpc.add_TestServiceServicer_to_server(TestService(), server)
    if arguments.certificate:
        with open(arguments.key, "rb") as key, open(arguments.certificate, "rb") as certificate:
            pair = (key.read(), certificate.read())
        port = server.add_secure_port(arguments.listen, grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(arguments.listen)
    server.start()
    print(f"interop server listening on {arguments.listen.rsplit(':', 1)[0]}:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()

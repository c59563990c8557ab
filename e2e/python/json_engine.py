"""An engine that nobody of this project wrote: grpcio's server and its reflection, with `library.proto`.

Prints where it listens. `--without-reflection`: it says nothing of itself.
"""

import argparse
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

protos, services = grpc.protos_and_services("library.proto")
SERVICE = "acme.library.v1.Library"


class Library(services.LibraryServicer):
    def GetBook(self, request, context):
        context.set_trailing_metadata([("x-seen", request.name)])
        if request.name.endswith("/lost"):
            detail = any_pb2.Any()
            detail.Pack(protos.Missing(what=request.name, nearest=["shelves/1/books/found"]))
            status = status_pb2.Status(
                code=code_pb2.NOT_FOUND, message="läßt sich nicht finden: 100 %", details=[detail]
            )
            context.abort_with_status(rpc_status.to_status(status))
        return protos.Book(name=request.name, isbn=request.isbn, genre=protos.NOVEL, page_count=2**60)

    def DeleteBook(self, request, context):
        return protos.Book(name=request.name)

    def CreateBook(self, request, context):
        book = request.book
        book.name = f"{request.parent}/books/{request.request_id or 'new'}"
        return book

    def UpdateBook(self, request, context):
        request.book.tags.extend(request.update_mask.paths)
        return request.book

    def ListTags(self, request, context):
        return protos.Book(name=request.name, tags=["a", "b"] if request.name.endswith("/1") else [])

    def LendBook(self, request, context):
        return protos.Book(name=request.name, page_count=request.time.seconds)

    def ListBooks(self, request, context):
        genres = [protos.Genre.Name(genre) for genre in request.genres]
        for n in range(request.page_size):
            if request.fail_after and n == request.fail_after:
                context.abort(grpc.StatusCode.DATA_LOSS, "the rest burnt")
            yield protos.Book(name=f"{request.parent}/books/{n}", tags=genres, isbn=str(request.lent.value))

    def Echo(self, request, context):
        return request

    def Upload(self, requests, context):
        return protos.Book(page_count=len(list(requests)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--without-reflection", action="store_true")
    arguments = parser.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    services.add_LibraryServicer_to_server(Library(), server)
    if not arguments.without_reflection:
        reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port(arguments.listen)
    server.start()
    print(f"library listening on {arguments.listen.rsplit(':', 1)[0]}:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()

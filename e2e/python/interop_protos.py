"""The modules of e2e/proto/grpc/testing, generated into a temporary folder when imported."""

import atexit
import pathlib
import shutil
import sys
import tempfile

from grpc_tools import protoc

SOURCE = pathlib.Path(__file__).parent.parent / "proto" / "grpc" / "testing"

# Not below a package `grpc`: that one is grpcio itself.
folder = tempfile.mkdtemp(prefix="pigeon-interop-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
files = [str(file) for file in sorted(SOURCE.glob("*.proto"))]
arguments = ["protoc", f"-I{SOURCE}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
if protoc.main(arguments + files) != 0:
    raise SystemExit("the interop protos do not compile")
sys.path.insert(0, folder)

import empty_pb2  # noqa: E402,F401
import messages_pb2  # noqa: E402,F401
import test_pb2_grpc  # noqa: E402,F401

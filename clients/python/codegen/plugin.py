"""A plugin for buf that runs the generators of grpcio-tools and mypy-protobuf.

It writes what protoc would (messages, gRPC stubs and type stubs for both), but as a part
of this package: modules directly below ``holdfast_client.v1``, and imports of each other
that say so. A top-level package ``holdfast`` would collide with everybody else's.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

PROTO_PACKAGE = "holdfast.v1"
PYTHON_PACKAGE = "holdfast_client.v1"
INIT = '''"""The contract as generated from its protos: messages and gRPC stubs.

Everything here but this text is written by a machine. The face meant for people is the
package above; this one is for what that has no words for, such as ``ConsentService``.
Never log a message: it prints its fields, and tokens are among them.
"""
'''


def ours(text: str) -> str:
    """Make imports of the contract's own modules those of this package."""
    proto, python = re.escape(PROTO_PACKAGE), PYTHON_PACKAGE
    text = re.sub(rf"^from {proto} import ", f"from {python} import ", text, flags=re.MULTILINE)
    text = re.sub(rf"^import {proto}\.", f"import {python}.", text, flags=re.MULTILINE)
    return re.sub(rf"(?<![\w./]){proto}\.(?=\w+_pb2\b)", f"{python}.", text)


def generate(request: CodeGeneratorRequest, out: Path) -> None:
    """Run protoc for the files asked for; raise SystemExit with its code if it fails."""
    image = out / "image.binpb"
    image.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    bin_dir = Path(sys.executable).parent
    code = protoc.main(
        [
            "protoc",
            f"--descriptor_set_in={image}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            *request.file_to_generate,
        ]
    )
    if code != 0:
        raise SystemExit(code)


def main() -> None:
    """Answer one request of buf."""
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    with_services = {Path(f.name).stem for f in request.proto_file if f.service}
    with tempfile.TemporaryDirectory() as tmp:
        generate(request, Path(tmp))
        for path in sorted(Path(tmp).rglob("*_pb2*.py*")):
            if "_grpc" in path.name and path.name.split("_pb2")[0] not in with_services:
                continue  # protoc writes an empty module for each file
            response.file.add(name=path.name, content=ours(path.read_text()))
    response.file.add(name="__init__.py", content=INIT)
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()

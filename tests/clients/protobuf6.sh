#!/usr/bin/env bash
# Shows that stubs and client import, and make a call's request, on the oldest libraries that trunkline-client allows.
set -euo pipefail
client=$(realpath "$(dirname "$0")/../../clients/python")
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet "protobuf~=6.33.0" "grpcio==1.81.1" googleapis-common-protos==1.70.0
"$venv/bin/python" -m pip install --quiet --no-deps "$client"
cd "$venv"
"$venv/bin/python" -W error - <<'PYTHON'
import google.protobuf
import grpc

from trunkline_client import Client, ConnectionFailed

with Client("127.0.0.1:1") as client:
    for call in (lambda: client.generate("hi", temperature=0), lambda: list(client.stream("hi"))):
        try:
            call()
        except ConnectionFailed as error:
            print(f"protobuf {google.protobuf.__version__}, grpcio {grpc.__version__}: {error}")
PYTHON

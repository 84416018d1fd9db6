"""A running ``holdfast dev``, with its simulated provider."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast_client import Client

ROOT = Path(__file__).resolve().parents[3]


class Dev:
    """Where dev mode is, and its provider."""

    def __init__(self, home: Path) -> None:
        self.home = home  # .holdfast lies in it
        told: dict[str, Any] = json.loads((home / ".holdfast/client.json").read_text())
        self.address: str = told["addr"]
        self.files = {name: home / ".holdfast" / told[name] for name in ("cert", "key", "ca")}

    def client(self) -> Client:
        return Client(self.address, **self.files)

    def end_tokens(self, api_base_url: str) -> None:
        """Let an hour pass at the provider alone: every access token has ended there, and
        neither the client nor the broker expects it."""
        sim = "/".join(api_base_url.split("/")[:3])
        request = urllib.request.Request(
            sim + "/_sim/clock/advance", b'{"by":"61m"}', {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="session")
def holdfast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary: that of HOLDFAST_BIN, or else of this checkout."""
    if os.environ.get("HOLDFAST_BIN"):
        return Path(os.environ["HOLDFAST_BIN"])
    binary = tmp_path_factory.mktemp("bin") / "holdfast"
    subprocess.run(["go", "build", "-o", binary, "./cmd/holdfast"], cwd=ROOT, check=True)
    return binary


@pytest.fixture
def dev(holdfast: Path, tmp_path: Path) -> Iterator[Dev]:
    ports = [f"--{name}-port=0" for name in ("grpc", "http", "metrics", "sim")]
    with open(tmp_path / "dev.log", "w+") as log:
        process = subprocess.Popen([holdfast, "dev", *ports], cwd=tmp_path, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            while "Ctrl-C ends it" not in (tmp_path / "dev.log").read_text():
                assert process.poll() is None, (tmp_path / "dev.log").read_text()
                assert time.monotonic() < end, "holdfast dev did not start"
                time.sleep(0.05)
            yield Dev(tmp_path)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)

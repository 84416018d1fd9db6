"""Targets that are none are found before anything is connected."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast_client import AsyncClient, Client, ConfigError
from holdfast_client._target import check

# What somebody wrote, and what the error says to write instead.
WRONG: list[tuple[Any, str]] = [
    ("https://broker.example:7443", 'write "broker.example:7443"'),
    ("https://broker.example:7443/", 'write "broker.example:7443"'),
    ("grpcs://user@broker.example:7443", 'write "broker.example:7443"'),
    ("http://[::1]:7443", r'write "\[::1\]:7443"'),
    ("https://broker.example", 'a URL is none: write "host:port"'),
    ("", "it is empty"),
    ("  ", "it is empty"),
    (" broker.example:7443\n", 'write "broker.example:7443"'),
    ("broker.example", 'write "broker.example:port"'),
    ("[::1]", r'write "\[::1\]:port"'),
    ("::1", r"in brackets"),
    ("fe80::1:7443", r"in brackets"),
    ("broker.example:", "number from 1 to 65535"),
    ("broker.example:0", "number from 1 to 65535"),
    ("broker.example:70000", "number from 1 to 65535"),
    ("broker.example:grpc", "number from 1 to 65535"),
    ("broker.example:7443/path", "want host:port"),
    ("dns:///broker.example", "want host:port"),
    ("dns:///", "want host:port"),
    ("unix:", "want host:port"),
    (None, "want host:port"),
]

RIGHT = [
    "broker.example:7443",
    "holdfast_broker:7443",
    "127.0.0.1:1",
    "[::1]:65535",
    "[fe80::1%eth0]:7443",
    "dns:7443",  # a host of that name
    "dns:///broker.example:7443",
    "dns:broker.example:7443",
    "dns://10.0.0.1/broker.example:7443",
    "unix:/run/holdfast.sock",
    "unix:///run/holdfast.sock",
    "ipv4:10.0.0.1:7443,10.0.0.2:7443",
    "xds:///broker.example",
]


@pytest.mark.parametrize(("target", "says"), WRONG, ids=[repr(w[0]) for w in WRONG])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_target_is_a_mistake_that_says_what_to_write(
    kind: Any, target: Any, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as e:
        kind(target, token_file="/no/such")
    assert "holdfast.internal:7443" in str(e.value)


@pytest.mark.parametrize("target", RIGHT)
def test_what_grpc_takes_is_taken(target: str) -> None:
    check(target)

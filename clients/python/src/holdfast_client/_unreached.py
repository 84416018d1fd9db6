"""Why the broker was not reached, in words for whoever set the client up.

gRPC says it in words of its own libraries, which name neither the argument that is wrong nor
what to do. They differ from version to version: what is not known here is left as it is.
"""

from __future__ import annotations

from typing import NamedTuple


class Way(NamedTuple):
    """How a client goes to its broker, for messages: it holds names of files and no secret."""

    target: str
    cert: str = ""
    ca: str = ""
    token_file: str = ""
    plaintext: bool = False

    @property
    def authority(self) -> str:
        """Whom the broker's certificate is judged by."""
        return f"ca={self.ca}" if self.ca else "the system's CAs (there is no ca=)"

    @property
    def shown(self) -> str:
        """What the broker knows this caller by."""
        if self.cert:
            return f"the certificate cert={self.cert}"
        return f"a caller without a certificate (token_file={self.token_file} shows a token)"


# What gRPC's text holds, in lower case, and what it means; the first that fits is told.
_MEANINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("certificate has expired", "certificate is not yet valid"),
        "the certificate of the broker at {w.target} is not valid now: look at the broker's "
        "certificate and at this machine's clock",
    ),
    (
        ("certificate_verify_failed",),
        "the certificate of the broker at {w.target} is not vouched for by {w.authority}, or it "
        "has expired: give as ca= the file of the CA that signed it",
    ),
    (
        ("hostname verification check failed", "is not in peer certificate"),
        "the certificate of the broker is not for the host of {w.target}: connect by a name that "
        "stands in it, or have the broker's certificate issued for this one too",
    ),
    (
        ("wrong_version_number",),
        "what answers at {w.target} does not speak TLS: check host and port; plaintext=True is "
        "for a development broker without TLS on this machine",
    ),
    (
        ("http1.x server",),
        "what answers at {w.target} is no gRPC server: check the port",
    ),
    (
        ("connection refused",),
        "nothing listens at {w.target}: check host and port, and whether the broker runs",
    ),
    (
        ("domain name not found", "dns resolution failed", "errors resolving"),
        "the host of {w.target} cannot be found: check its name, and this machine's DNS",
    ),
    (("deadline exceeded",), "the broker at {w.target} did not answer in time"),
)

# A server that does not take a client's certificate ends the connection after the handshake; only
# a few of its words are passed on. One that is just going down does the same.
_TURNED_AWAY = ("unwrap failed", "alert", "socket closed", "connection reset")


def why(raw: str, way: Way | None) -> str:
    """Return what a call says that no broker answered; None: over a channel of the caller's."""
    if way is None:
        return raw
    text = raw.lower()
    for signs, meaning in _MEANINGS:
        if any(sign in text for sign in signs):
            return f"{meaning.format(w=way)} (gRPC: {raw})"
    if "failed to connect" in text and any(sign in text for sign in _TURNED_AWAY):
        return f"{_turned_away(way)} (gRPC: {raw})"
    return raw


def _turned_away(way: Way) -> str:
    if way.plaintext:
        return (
            f"what answers at {way.target} hangs up on a caller without TLS: give cert, key and "
            "ca instead of plaintext"
        )
    return (
        f"the broker at {way.target} hangs up after the TLS handshake, as it does on {way.shown} "
        "if its trust does not cover that: use one that its CA signed and that has not expired, "
        "or ask an operator which callers it knows"
    )

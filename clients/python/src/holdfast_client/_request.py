"""What a source asks for, as the broker's contract puts it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from holdfast_client._errors import InvalidRequest
from holdfast_client.v1 import grant_pb2
from holdfast_client.v1 import token_service_pb2 as pb

_ID = re.compile(r"grt_[a-z2-7]{26}")
_SEGMENT = re.compile(r"[A-Za-z0-9@._+-]{1,128}")


# What a Duration holds, in seconds, either way.
_MOST = 315_576_000_000


def selector(grant: str | None) -> grant_pb2.GrantSelector:
    """Parse a grant's id or address; raise InvalidRequest if it is neither."""
    text = grant if isinstance(grant, str) else ""  # e.g. of a variable that is not set
    if _ID.fullmatch(text):
        return grant_pb2.GrantSelector(id=text)
    parts = text.split("/")
    if len(parts) not in (3, 4) or not all(_SEGMENT.fullmatch(p) for p in parts):
        raise InvalidRequest(
            f"grant {grant!r}: want an id (grt_...) or tenant/subject/product[/name], "
            "each 1 to 128 of A-Z a-z 0-9 @ . _ + -",
            field="grant",
        )
    address = grant_pb2.GrantAddress(tenant=parts[0], subject=parts[1], product=parts[2])
    if len(parts) == 4:
        address.name = parts[3]
    return grant_pb2.GrantSelector(address=address)


def token_request(
    grant: str, site: str, scopes: Sequence[str], min_ttl: float, purpose: str
) -> pb.GetAccessTokenRequest:
    """Return the request of a source. The broker judges all but the grant's form."""
    if isinstance(scopes, str):
        raise InvalidRequest(f"scopes {scopes!r}: want a list of scopes", field="required_scopes")
    request = pb.GetAccessTokenRequest(
        grant=selector(grant), site=site, required_scopes=list(scopes), purpose=purpose
    )
    if not -_MOST < min_ttl < _MOST:
        raise InvalidRequest(
            f"min_ttl {min_ttl}: want seconds, at most the provider's access grace, "
            "which is 600 at Atlassian",
            field="min_ttl",
        )
    if min_ttl:
        whole = int(min_ttl)
        request.min_ttl.CopyFrom(Duration(seconds=whole, nanos=int((min_ttl - whole) * 1e9)))
    return request

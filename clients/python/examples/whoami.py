"""Asks Jira who the owner of a grant is, with httpx: the smallest whole program.

While ``holdfast dev`` runs, this works from the same directory as it stands::

    python clients/python/examples/whoami.py
"""

import os
import sys

import httpx

from holdfast_client import Client, ConsentRequired
from holdfast_client.httpx_auth import HoldfastAuth


def main() -> None:
    """Print the account."""
    address = os.environ.get("HOLDFAST_ADDR", "127.0.0.1:7443")
    client = Client(
        address,
        cert=".holdfast/client.crt",
        key=".holdfast/client.key",
        ca=".holdfast/ca.crt",
    )
    with client:
        source = client.source("acme/automation/jira", purpose="whoami")
        with httpx.Client(auth=HoldfastAuth(source)) as jira:
            try:
                print(jira.get("/rest/api/3/myself").raise_for_status().json()["displayName"])
            except ConsentRequired as e:
                sys.exit(f"{e}\nopen {e.link}")


if __name__ == "__main__":
    main()

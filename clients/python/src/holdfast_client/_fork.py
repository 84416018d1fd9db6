"""Clients and ``os.fork``, and the end of the program.

After a fork the child has one thread, so that locks which others held stay locked, and
gRPC's own threads are gone. A client that has not touched gRPC yet gets new locks; all
others say clearly that they are of no use.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class _Forkable(Protocol):
    def _after_fork(self) -> None: ...
    def _at_exit(self) -> None: ...


_clients: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def note(client: _Forkable) -> None:
    """Tell the client of forks, and of the end of the program if it lives until then."""
    _clients.add(client)


def _in_child() -> None:
    for client in list(_clients):
        client._after_fork()


def _at_exit() -> None:
    for client in list(_clients):
        client._at_exit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faces import Asyncio, Face, Threads

from holdfast_client.testing import FakeBroker


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as broker:
        yield broker


@pytest.fixture(params=[Threads, Asyncio], ids=["threads", "asyncio"])
def new_face(request: Any, broker: FakeBroker) -> Iterator[Callable[..., Face]]:
    faces: list[Face] = []

    def new(**source: Any) -> Face:
        faces.append(request.param(broker, **source))
        return faces[-1]

    yield new
    broker.resume()
    for face in faces:
        face.close()


@pytest.fixture
def face(new_face: Callable[..., Face]) -> Face:
    return new_face()

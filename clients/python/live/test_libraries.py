"""The libraries that people use, through the examples. Tokens end in the middle of a loop
over pages, and nobody notices."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Dev

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import with_atlassian
from with_jira import BrokeredJIRA, keys

from holdfast_client import Client, Source
from holdfast_client.httpx_auth import HoldfastAuth

OPS = [f"OPS-{n}" for n in range(25, 0, -1)]


@pytest.fixture
def client(dev: Dev) -> Iterator[Client]:
    with dev.client() as client:
        yield client


def midway(dev: Dev, source: Source, items: Iterator[Any]) -> list[Any]:
    """Run a loop over pages of ten, and end all tokens in the middle of the second page."""
    before = source.token().generation
    got = []
    for item in items:
        got.append(item)
        if len(got) == 15:
            dev.end_tokens(source.api_base_url())
    assert source.token().generation == before + 1, "no token ended, so that nothing was shown"
    return got


def test_jira(dev: Dev, client: Client) -> None:
    source = client.source("acme/automation/jira")
    jira = BrokeredJIRA(source)
    assert midway(dev, source, keys(jira, "project = OPS")) == OPS
    assert jira.issue("OPS-1").key == "OPS-1"
    jira.close()  # type: ignore[no-untyped-call]


def test_atlassian_python_api_with_jira(dev: Dev, client: Client) -> None:
    source = client.source("acme/automation/jira")
    jira = with_atlassian.jira(source)
    assert midway(dev, source, with_atlassian.issue_keys(jira, "project = OPS")) == OPS
    jira.close()


def test_atlassian_python_api_with_confluence(dev: Dev, client: Client) -> None:
    source = client.source("acme/automation/confluence")
    confluence = with_atlassian.confluence(source)
    answers: list[int] = []

    def end_after_the_second(response: Any, **_: Any) -> None:
        answers.append(response.status_code)
        if len(answers) == 2:
            dev.end_tokens(source.api_base_url())

    before = source.token().generation
    confluence._session.hooks["response"].append(end_after_the_second)
    titles = with_atlassian.page_titles(confluence)
    assert len(titles) == len(set(titles)) == 50
    assert len(answers) == 5
    assert source.token().generation == before + 1
    confluence.close()


def test_httpx(dev: Dev, client: Client) -> None:
    source = client.source("acme/automation/jira")

    def pages(jira: httpx.Client) -> Iterator[str]:
        query: dict[str, Any] = {"jql": "project = OPS", "maxResults": 10}
        while True:
            found = jira.get("/rest/api/3/search/jql", params=query).raise_for_status().json()
            yield from (issue["key"] for issue in found["issues"])
            if found["isLast"]:
                return
            query["nextPageToken"] = found["nextPageToken"]

    with httpx.Client(auth=HoldfastAuth(source)) as jira:
        assert midway(dev, source, pages(jira)) == OPS

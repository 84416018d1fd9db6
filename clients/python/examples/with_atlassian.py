"""Pages through issues and wiki pages with ``atlassian-python-api`` of PyPI."""

from collections.abc import Iterator
from typing import Any

from atlassian import ConfluenceV2, Jira

from holdfast_client import Source
from holdfast_client.requests_auth import Session


def jira(source: Source) -> Jira:
    """Return a Jira whose every request carries a token that is good."""
    return Jira(url=source.api_base_url(), session=Session(source), cloud=True)


def confluence(source: Source) -> ConfluenceV2:
    """Return a Confluence whose every request carries a token that is good."""
    return ConfluenceV2(url=source.api_base_url() + "/wiki", session=Session(source))


def issue_keys(client: Jira, jql: str, page: int = 10) -> Iterator[str]:
    """Yield the keys of all issues that match, a page at a time."""
    token: str | None = None
    while True:
        found: dict[str, Any] = client.enhanced_jql(jql, nextPageToken=token, limit=page)
        yield from (issue["key"] for issue in found["issues"])
        token = found.get("nextPageToken")
        if not token:
            return


def page_titles(client: ConfluenceV2, page: int = 10) -> list[str]:
    """Return the titles of all pages; the library follows the links from page to page."""
    found: Any = client.get_pages(limit=page)
    return [one["title"] for one in found]

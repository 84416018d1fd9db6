"""Pages through issues with the library ``jira`` of PyPI."""

from collections.abc import Iterator

from jira import JIRA

from holdfast_client import Source
from holdfast_client.requests_auth import HoldfastAuth


class BrokeredJIRA(JIRA):
    """A JIRA whose every request carries a token that is good.

    The library takes fixed tokens only, in this one place of its own.
    """

    def __init__(self, source: Source) -> None:
        """Connect to the site of the source."""
        self._source = source
        super().__init__(server=source.api_base_url(), token_auth="by Holdfast")

    def _create_token_session(self, token_auth: str) -> None:
        self._session.auth = HoldfastAuth(self._source)


def keys(jira: JIRA, jql: str, page: int = 10) -> Iterator[str]:
    """Yield the keys of all issues that match, a page at a time."""
    token: str | None = None
    while True:
        found = jira.enhanced_search_issues(jql, nextPageToken=token, maxResults=page)
        yield from (issue.key for issue in found)
        token = found.nextPageToken
        if not token:
            return

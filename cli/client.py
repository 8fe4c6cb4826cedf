"""The API, spoken to with a key. Importing this module makes no connection and loads no HTTP library."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from cli.exits import CommandError, ExitCode, error_of_problem

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS: Final = 35.0
"""A little longer than API Gateway lets a request run."""
PAGE: Final = 200
_UNAUTHENTICATED: Final = frozenset({"/health"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAddress:
    """Where the API is and who asks."""

    url: str
    key: str | None


class ApiClient:
    """One connection pool to the API. Every failure is a CommandError with the exit code that fits."""

    def __init__(self, address: ApiAddress, transport: "httpx.BaseTransport | None" = None) -> None:
        httpx = _httpx()
        headers = {"accept": "application/json", "user-agent": "scheduler-cli"}
        if address.key:
            headers["x-api-key"] = address.key
        self._address = address
        self._http = httpx.Client(
            base_url=address.url,
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            verify=address.url.startswith("https"),  # certificates take long to read, and nobody asks for them
            trust_env=not _is_loopback(address.url),  # a proxy is for the world outside
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: object) -> Any:
        """GET; query values that are None are left out, lists are repeated."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        accepted: frozenset[int] = frozenset(),
    ) -> Any:
        """The answer's JSON (None where it is empty). Statuses from 300 on raise, unless they are in `accepted`."""
        if self._address.key is None and path not in _UNAUTHENTICATED:
            raise CommandError(
                ExitCode.NOT_AUTHORISED,
                "No API key.",
                "Set SCHEDULER_API_KEY, give --api-key, or start `scheduler dev`.",
            )
        params = {name: value for name, value in (query or {}).items() if value not in (None, [], ())}
        with _translated(self._address.url):
            answer = self._http.request(
                method,
                path,
                params=params or None,
                json=body if body is not None else None,
                headers=dict(headers or {}),
            )
        content = _json_of(answer)
        if answer.status_code >= 300 and answer.status_code not in accepted:
            problem = content if isinstance(content, dict) else {}
            raise error_of_problem(answer.status_code, problem, answer.headers.get("retry-after"))
        return content

    def listing(self, path: str, *, most: int, cursor: str | None = None, **query: object) -> dict[str, Any]:
        """At most `most` items of a listing, page after page: `{"items": [...], "next_cursor": ...}`."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=min(most - len(items), PAGE), cursor=cursor, **query)
            items += page["items"]
            cursor = page.get("next_cursor")
            if cursor is None or len(items) >= most:
                return {"items": items, "next_cursor": cursor}


def _httpx() -> Any:
    """httpx without its own command line, which it does not need and which takes longer to load than all the rest."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # "not there": httpx goes on without it
    import httpx

    return httpx


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in {"127.0.0.1", "localhost", "::1"}


def _json_of(answer: "httpx.Response") -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        if answer.status_code < 300:
            raise CommandError(ExitCode.UNAVAILABLE, "The answer is not JSON.", "Is the URL right?") from None
        return None


@contextmanager
def _translated(url: str) -> Iterator[None]:
    httpx = _httpx()
    try:
        yield
    except httpx.TimeoutException as error:
        raise CommandError(ExitCode.UNAVAILABLE, f"{url} did not answer in time.") from error
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CommandError(ExitCode.UNAVAILABLE, f"{url} cannot be reached.", str(error) or None) from error

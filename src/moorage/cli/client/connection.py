"""HTTP to a service that speaks the Placement API, and what its refusals mean to a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import requests

from moorage.model.errors import MoorageError

ResultT = TypeVar("ResultT")

Query = Mapping[str, str | list[str] | None]
"""Parameters of a GET: those that are None are left out, a list is repeated."""

NEWEST_MINOR: Final = 39
"""Microversion 1.N that is asked for."""

OLDEST_MINOR: Final = 28
"""Microversion 1.N without which consumers have no generation, and nothing could be changed safely."""

TIMEOUT_SECONDS: Final = 60.0
"""How long an answer may take: as long as a service retries a write, and as much again."""

ATTEMPTS: Final = 6
"""How often a change is made anew that lost against another one."""

FIRST_PAUSE_SECONDS: Final = 0.05
"""Wait after the first lost attempt; it doubles."""

CONCURRENT_UPDATE: Final = "placement.concurrent_update"
CONSUMER_CONFLICT: Final = "consumer generation conflict"
"""Words that stand in the detail of a 409 if a consumer was changed meanwhile."""

ADVICE: Final[Mapping[str, str]] = {
    CONCURRENT_UPDATE: "Somebody else changes it at the same time. Look at it, then try again.",
    "placement.inventory.inuse": "Somebody holds of it: 'moorage allocation list PROVIDER' shows who.",
    "placement.resource_provider.inuse": (
        "Somebody holds of it: 'moorage allocation list PROVIDER' shows who, "
        "and 'moorage allocation delete CONSUMER' frees it."
    ),
    "placement.resource_provider.cannot_delete_parent": (
        "'moorage provider tree PROVIDER' shows what is below it; that must go first."
    ),
    "placement.duplicate_name": "'moorage provider show NAME' shows who has this name.",
}
"""What to do about a 409, by its code."""

NO_ROOM_ADVICE: Final = (
    "'moorage usage --provider PROVIDER' shows what is left, 'moorage candidates' where it fits."
)

WHENCE_TOKENS: Final[Mapping[str, str]] = {
    "keystone": "with Keystone: 'openstack token issue -f value -c id'",
    "token": "without: 'moorage token create', where the service runs",  # nosec B105 - a hint
}
"""Where a token comes from, by the scheme of the WWW-Authenticate header of who refuses one."""

ANY_WHENCE: Final = "; ".join(WHENCE_TOKENS.values())


@dataclass(eq=False)
class ServiceError(MoorageError):
    """The service could not be asked."""

    reason: str
    template = "{reason}"


@dataclass(eq=False)
class RefusedError(MoorageError):
    """The service said no. ``detail`` is what it said, ``advice`` what may help."""

    status: int
    code: str
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.detail}\n{self.advice}" if self.advice else self.detail

    @property
    def lost_a_race(self) -> bool:
        """Whether a provider was changed between being read and being written."""
        return self.code == CONCURRENT_UPDATE and CONSUMER_CONFLICT not in self.detail


class Service:
    """One service at ``url``, asked with ``token``.

    Every method raises ServiceError if it cannot be asked, and RefusedError if it says no.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.minor = NEWEST_MINOR
        self._session = requests.Session()
        self._session.headers["X-Auth-Token"] = token
        self._session.headers["Accept"] = "application/json"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """Body of a GET."""
        return self.request("GET", path, query=query)

    def put(self, path: str, body: Any) -> Any:
        """Body of a PUT's answer, None if it has none."""
        return self.request("PUT", path, body)

    def post(self, path: str, body: Any) -> Any:
        """Body of a POST's answer, None if it has none."""
        return self.request("POST", path, body)

    def delete(self, path: str) -> None:
        """Delete what ``path`` names."""
        self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Query | None = None,
    ) -> Any:
        """Body of the answer as JSON, None if there is none."""
        answer = self._send(method, path, body, query)
        if answer.status_code == requests.codes.not_acceptable and self._negotiate(answer):
            answer = self._send(method, path, body, query)
        if answer.ok:
            return self._json(answer) if answer.content else None
        raise self._refusal(answer)

    def _send(self, method: str, path: str, body: Any, query: Query | None) -> requests.Response:
        try:
            return self._session.request(
                method,
                f"{self.url}{path}",
                params=query,
                json=body,
                headers={"OpenStack-API-Version": f"placement 1.{self.minor}"},
                timeout=TIMEOUT_SECONDS,
            )
        except requests.Timeout as error:
            raise ServiceError(
                f"{self.url} has not answered within {TIMEOUT_SECONDS:.0f} seconds."
            ) from error
        except requests.exceptions.SSLError as error:
            raise ServiceError(
                f"The certificate of {self.url} is not trusted. "
                "REQUESTS_CA_BUNDLE=FILE names the authority to trust."
            ) from error
        except requests.ConnectionError as error:
            raise ServiceError(
                f"Nothing answers at {self.url}. Is the service running ('moorage serve')? "
                "Another address is named by --url or MOORAGE_URL."
            ) from error
        except (requests.RequestException, UnicodeError) as error:
            raise ServiceError(f"{self.url} cannot be asked: {error}") from error

    def _negotiate(self, answer: requests.Response) -> bool:
        """Take the newest version that the service knows; False if that was not what it is about."""
        newest = str(_first_error(answer).get("max_version", ""))
        major, _, minor = newest.partition(".")
        if major != "1" or not minor.isdecimal() or int(minor) >= self.minor:
            return False
        if int(minor) < OLDEST_MINOR:
            raise ServiceError(f"{self.url} speaks Placement up to {newest}; 1.{OLDEST_MINOR} is needed.")
        self.minor = int(minor)
        return True

    def _json(self, answer: requests.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise ServiceError(f"{self.url} is no Placement service: its answer is no JSON.") from error

    def _refusal(self, answer: requests.Response) -> MoorageError:
        error = _first_error(answer)
        if answer.status_code == requests.codes.unauthorized:
            scheme = answer.headers.get("WWW-Authenticate", "").partition(" ")[0].lower()
            return ServiceError(
                f"{self.url} does not accept this token. --token or MOORAGE_TOKEN names another one "
                f"({WHENCE_TOKENS.get(scheme, ANY_WHENCE)})."
            )
        detail = _told(str(error.get("detail", ""))) or f"{answer.status_code} {answer.reason}"
        code = str(error.get("code", ""))
        if answer.status_code == requests.codes.forbidden:
            return ServiceError(
                f"This token may not do that: {detail}\n"
                f"--token or MOORAGE_TOKEN names one that has another role ({ANY_WHENCE})."
            )
        advice = ADVICE.get(code, "") if answer.status_code == requests.codes.conflict else ""
        if answer.status_code == requests.codes.conflict and not advice:
            advice = NO_ROOM_ADVICE
        if not error:
            advice = f"({self.url}: is that a Placement service?)"
        return RefusedError(answer.status_code, code, detail, advice)


def _first_error(answer: requests.Response) -> Mapping[str, Any]:
    """What a body in the errors format says first; empty if it is another kind of body."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}


def _told(detail: str) -> str:
    """The message in an error's detail, without the sentence that every error of a status begins with."""
    return detail.rpartition("\n\n")[2].strip() if detail.count("\n\n") == 1 else detail.strip()


def retried(change: Callable[[], ResultT], wait: Callable[[float], None] = time.sleep) -> ResultT:
    """Read, change and write again as long as somebody else was faster; ``change`` does all three.

    Only for changes that mean the same whatever was changed meanwhile. Raises RefusedError.
    """
    pause = FIRST_PAUSE_SECONDS
    for _ in range(ATTEMPTS - 1):
        try:
            return change()
        except RefusedError as refusal:
            if not refusal.lost_a_race:
                raise
        wait(pause)
        pause *= 2
    return change()

"""HTTP to a service with the Placement API, and explanations of its refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import requests

from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass

ResultT = TypeVar("ResultT")

Query = Mapping[str, str | list[str] | None]
"""Parameters of a GET: None values are left out, and lists become repeated parameters."""

NEWEST_MINOR: Final = 39
"""Microversion 1.N of requests."""

OLDEST_MINOR: Final = 28
"""Oldest microversion 1.N that works: before it consumers have no generation, so changes would not be
safe."""

TIMEOUT_SECONDS: Final = 60.0
"""Longest wait for an answer: twice as long as a service retries a write."""

ATTEMPTS: Final = 6
"""How often a change is attempted that conflicts with other changes."""

FIRST_PAUSE_SECONDS: Final = 0.05
"""Wait after the first lost attempt; it doubles."""

ONCE_ATTEMPTS: Final = 4
"""How often a write is sent while it is not known what became of it."""

ONCE_PAUSE_SECONDS: Final = 0.2
"""Wait after its first attempt if the service names none; it doubles."""

KEY_HEADER: Final = "Idempotency-Key"
"""Header with the key that lets repeated writes take effect once."""

PROBLEM_TYPE: Final = "application/problem+json"
"""The media type of a refusal of the native API."""

CONCURRENT_UPDATE: Final = "placement.concurrent_update"
CONSUMER_CONFLICT: Final = "consumer generation conflict"
"""Text in the detail of a 409 if another client has changed the consumer."""

ADVICE: Final[Mapping[str, str]] = {
    CONCURRENT_UPDATE: "Another client changed it at the same time. Look at it, then try again.",
    "placement.inventory.inuse": "Consumers hold some of it: 'moorage allocation list PROVIDER' lists them.",
    "placement.resource_provider.inuse": (
        "Consumers hold some of it: 'moorage allocation list PROVIDER' lists them, "
        "and 'moorage allocation delete CONSUMER' frees what one holds."
    ),
    "placement.resource_provider.cannot_delete_parent": (
        "'moorage provider tree PROVIDER' shows its children; delete those first."
    ),
    "generation_conflict": "Another client changed it at the same time. Look at it, then try again.",
    "already_holds": (
        "'moorage claim show CONSUMER' shows what it holds, and 'moorage claim move CONSUMER' replaces that."
    ),
    "lease_gone": "The lease has ended, or has expired. Get a new one, or renew it in time.",
    "compacted": (
        "The journal begins later. 'moorage changes' without --after begins with the newest changes."
    ),
    "different_history": (
        "The database was restored, or is another one. 'moorage changes' without --after begins with the "
        "newest changes."
    ),
    "placement.duplicate_name": "'moorage provider show NAME' shows the provider with this name.",
}
"""Advice on a 409 or a 410, by its code."""

NO_ROOM_ADVICE: Final = (
    "'moorage usage --provider PROVIDER' shows what is left, 'moorage candidates' where it fits."
)

WHENCE_TOKENS: Final[Mapping[str, str]] = {
    "keystone": "'openstack token issue -f value -c id' prints one.",
    "token": "'moorage token create' prints one, on a host that reaches the service's database.",  # nosec B105
}
"""How to get a token, by the scheme of the WWW-Authenticate header in the refusal."""

ANY_WHENCE: Final = (
    "A service with Keystone accepts what 'openstack token issue -f value -c id' prints; "
    "one without Keystone accepts what 'moorage token create' prints."
)


@valueclass(frozen=True, slots=True)
class OptionNames:
    """The options that name service and token, for hints. ``instead`` is a hint at other options."""

    url: str
    token: str
    instead: str = ""


CLIENT_OPTIONS: Final = OptionNames("--url or MOORAGE_URL", "--token or MOORAGE_TOKEN")

EITHER_OPTIONS: Final = OptionNames(
    CLIENT_OPTIONS.url,
    CLIENT_OPTIONS.token,
    " To open a database instead, name one with --database URL, --data-dir DIRECTORY or --config-file FILE.",
)
"""For a command that talks to a service or opens a database."""


@dataclass(eq=False)
class ServiceError(MoorageError):
    """The service could not be reached, or its answer is unusable."""

    reason: str
    template = "{reason}"


class NoAnswerError(ServiceError):
    """No answer came: the request may have taken effect."""


class NotAllowedError(ServiceError):
    """The token does not allow the request."""


@dataclass(eq=False)
class RefusedError(MoorageError):
    """The service refused a request. ``detail`` is its text, ``told`` a plainer text, ``advice`` a hint.

    ``problem`` is the whole body of a refusal of the native API, None for any other.
    """

    status: int
    code: str
    detail: str
    advice: str = ""
    told: str = ""
    problem: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.told or self.detail

    @property
    def lost_a_race(self) -> bool:
        """Whether another client changed the provider between read and write."""
        return self.code == CONCURRENT_UPDATE and CONSUMER_CONFLICT not in self.detail


class ServiceConnection:
    """One service at ``url``, used with ``token``.

    Every method raises ServiceError if the service cannot be reached, and RefusedError if it refuses.
    """

    def __init__(self, url: str, token: str, names: OptionNames = CLIENT_OPTIONS) -> None:
        self.url = url.rstrip("/")
        self._names = names
        self.minor = NEWEST_MINOR
        self._dated: str | None = None
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

    def get_dated(self, path: str) -> tuple[Any, str | None]:
        """Body of a GET, and the date of its last change in UTC, if the answer has one."""
        body = self.get(path)
        return body, self._dated

    def put(self, path: str, body: Any, minor: int | None = None) -> Any:
        """Body of a PUT's answer, None if it has none; ``minor`` is the microversion 1.N of the request."""
        return self.request("PUT", path, body, minor=minor)

    def post(self, path: str, body: Any) -> Any:
        """Body of a POST's answer, None if it has none."""
        return self.request("POST", path, body)

    def post_once(
        self, path: str, body: Any, wait: Callable[[float], None] = time.sleep, key: str | None = None
    ) -> Any:
        """Body of the answer to a native POST, which takes effect once: see ``once``."""
        return self.once("POST", path, body, wait=wait, key=key)

    def once(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Query | None = None,
        wait: Callable[[float], None] = time.sleep,
        key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Any:
        """Body of the answer to a native write, which takes effect once however often it is sent.

        It is sent again with the same idempotency key while no answer comes, and while the service cannot
        carry it out or does not know its outcome (503). Without a ``key`` it gets one of its own.
        """
        key = key or str(uuid4())
        pause = ONCE_PAUSE_SECONDS
        for _ in range(ONCE_ATTEMPTS - 1):
            named = None
            try:
                return self.request(method, path, body, query, key=key, timeout=timeout)
            except NoAnswerError:
                pass
            except RefusedError as refusal:
                if refusal.status != requests.codes.unavailable:
                    raise
                named = (refusal.problem or {}).get("retry", {}).get("after_seconds")
            wait(pause if named is None else named)
            pause *= 2
        return self.request(method, path, body, query, key=key, timeout=timeout)

    def delete(self, path: str) -> None:
        """Delete what ``path`` names."""
        self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Query | None = None,
        minor: int | None = None,
        key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Any:
        """Body of the answer as JSON, None if there is none. ``key`` is an idempotency key.

        ``timeout``: the longest wait for a part of the answer, in seconds.
        """
        answer = self._send(method, path, body, query, minor or self.minor, key, timeout)
        if answer.status_code == requests.codes.not_acceptable and self._negotiate(answer):
            minor = min(minor or self.minor, self.minor)
            answer = self._send(method, path, body, query, minor, key, timeout)
        self._dated = _moment(answer.headers.get("Last-Modified"))
        if answer.ok:
            return self._json(answer) if answer.content else None
        raise self._refusal(answer)

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        query: Query | None,
        minor: int,
        key: str | None,
        timeout: float,
    ) -> requests.Response:
        headers = {"OpenStack-API-Version": f"placement 1.{minor}"}
        if key is not None:
            headers[KEY_HEADER] = f'"{key}"'
        try:
            return self._session.request(
                method,
                f"{self.url}{path}",
                params=query,
                json=body,
                headers=headers,
                timeout=timeout,
            )
        except requests.Timeout as error:
            raise NoAnswerError(f"{self.url} has not answered within {timeout:.3g} seconds.") from error
        except requests.exceptions.SSLError as error:
            raise ServiceError(
                f"The certificate of {self.url} is not trusted. "
                "REQUESTS_CA_BUNDLE=FILE names the authority to trust."
            ) from error
        except requests.ConnectionError as error:
            raise NoAnswerError(
                f"Nothing answers at {self.url}. Is the service running ('moorage serve')? "
                f"{self._names.url} names another address.{self._names.instead}"
            ) from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise NoAnswerError(f"The answer of {self.url} broke off: {error}") from error
        except (requests.RequestException, ValueError) as error:
            raise ServiceError(f"The request to {self.url} failed: {error}") from error

    def _negotiate(self, answer: requests.Response) -> bool:
        """Switch to the newest version of the service; False if the version was not the problem."""
        newest = str(_first_error(answer).get("max_version", ""))
        major, _, minor = newest.partition(".")
        if major != "1" or not minor.isdecimal() or int(minor) >= self.minor:
            return False
        if int(minor) < OLDEST_MINOR:
            raise ServiceError(
                f"{self.url} supports Placement up to {newest}; this command needs 1.{OLDEST_MINOR}."
            )
        self.minor = int(minor)
        return True

    def _json(self, answer: requests.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise ServiceError(f"{self.url} is not a Placement service: its answer is not JSON.") from error

    def _refusal(self, answer: requests.Response) -> MoorageError:
        error = _first_error(answer)
        if answer.status_code == requests.codes.unauthorized:
            scheme = answer.headers.get("WWW-Authenticate", "").partition(" ")[0].lower()
            return ServiceError(
                f"{self.url} does not accept this token.\n{self._names.token} names another one. "
                f"{WHENCE_TOKENS.get(scheme, ANY_WHENCE)}"
            )
        detail = _told(str(error.get("detail", ""))) or f"{answer.status_code} {answer.reason}"
        code = str(error.get("code", ""))
        if answer.status_code == requests.codes.forbidden:
            return NotAllowedError(
                f"This token does not allow that: {detail}\n"
                "Use a token with another role, or of the project in the request. "
                f"{self._names.token} names one."
            )
        advice = ADVICE.get(code, "") if answer.status_code == requests.codes.conflict else ""
        if answer.status_code == requests.codes.conflict and not advice:
            advice = NO_ROOM_ADVICE
        if error.get("type"):
            advice = _nearest(error) or ADVICE.get(code, "")
        if not error:
            advice = f"({self.url}: is that a Placement service?)"
        problem = error if _is_problem(answer) else None
        return RefusedError(answer.status_code, code, detail, advice, problem=problem)


def _moment(header: str | None) -> str | None:
    """The date of a header in ISO 8601; None if it is not a date."""
    try:
        return (
            parsedate_to_datetime(header).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if header else None
        )
    except ValueError:
        return None


def _first_error(answer: requests.Response) -> Mapping[str, Any]:
    """The first error of a body in the errors format, or a problem; empty for any other body."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    if _is_problem(answer) and isinstance(body, dict):
        return body
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}


def _is_problem(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Type") == PROBLEM_TYPE


def _nearest(problem: Mapping[str, Any]) -> str:
    """A question for each unknown name of a problem that has similar ones."""
    named = [(each["name"], each["nearest"]) for each in problem.get("names", ()) if each["nearest"]]
    return "\n".join(f"{name}: did you mean {' or '.join(nearest)}?" for name, nearest in named)


def _told(detail: str) -> str:
    """The message in an error's detail, without the sentence that every error of a status begins with."""
    return detail.rpartition("\n\n")[2].strip() if detail.count("\n\n") == 1 else detail.strip()


def retried(change: Callable[[], ResultT], wait: Callable[[float], None] = time.sleep) -> ResultT:
    """Repeat ``change`` (read, change and write) while it conflicts with other clients.

    Only for changes that stay correct when other values have changed meanwhile. Raises RefusedError.
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

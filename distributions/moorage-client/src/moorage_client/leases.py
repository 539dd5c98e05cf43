"""Leases as the service shows them. Durations are in seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

Json = Mapping[str, Any]

Span = Union[float, str]
"""A duration: a number of seconds, or a text as the API writes it, such as ``90s`` or ``8h``."""

SECONDS_OF = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def seconds(text: str) -> float:
    """A duration of the API in seconds. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration such as 90s or 8h")
    return float(found[1]) * SECONDS_OF[found[2]]


def written(span: Span) -> str:
    """A duration as the API reads it: in whole milliseconds at most."""
    if isinstance(span, str):
        return span
    return f"{span:.3f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True)
class LeaseShown:
    """A lease at ``revision``.

    ``state`` is ``active``, ``expired`` (its grace passes), ``quarantined`` or ``released``. ``remaining`` is
    what is left of ``ttl`` if it is active, of ``grace`` if it has expired. ``ends_in`` is what is left of an
    end that renewals do not move. ``fence`` grows with every grant: hand it to what you guard. ``claims`` is
    how many hang on it. What an answer does not have is None.
    """

    id: str
    state: str
    owner: str
    project_id: str
    user_id: str
    remaining: float
    ttl: float
    grace: float
    on_expiry: str
    ends_in: float | None
    fence: int | None
    claims: int | None
    changed_at: int | None
    revision: int | None

    @classmethod
    def of(cls, data: Json) -> LeaseShown:
        """From JSON."""
        return cls(
            data["lease"],
            data["state"],
            data["owner"],
            data["project_id"] or "",
            data["user_id"] or "",
            seconds(data["remaining"]),
            seconds(data["ttl"]),
            seconds(data["grace"]),
            data["on_expiry"],
            None if data.get("ends_in") is None else seconds(data["ends_in"]),
            data.get("fence"),
            data.get("claims"),
            data.get("changed_at"),
            data.get("revision"),
        )


@dataclass(frozen=True)
class Renewed:
    """A renewal that was granted: ``remaining`` seconds from when it was sent, at least.

    ``revived``: the lease had expired, and is active again.
    """

    lease: str
    remaining: float
    revived: bool


@dataclass(frozen=True)
class Gone:
    """A lease that cannot be renewed any more, with the ``state`` that it is in; None: it is not known."""

    lease: str
    state: str | None
    revision: int | None


@dataclass(frozen=True)
class Renewals:
    """What became of each lease that a request wanted to renew."""

    renewed: tuple[Renewed, ...]
    gone: tuple[Gone, ...]

    @classmethod
    def of(cls, data: Json) -> Renewals:
        """From JSON."""
        return cls(
            tuple(
                Renewed(each["lease"], seconds(each["remaining"]), bool(each.get("revived")))
                for each in data["renewed"]
            ),
            tuple(Gone(each["lease"], each.get("state"), each.get("revision")) for each in data["gone"]),
        )

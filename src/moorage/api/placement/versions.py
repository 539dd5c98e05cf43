"""Microversions: what each brought, how a client asks for one, and tables by version.

Source: Placement's REST API version history. Only the minor number is kept: all are 1.N.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

ValueT_co = TypeVar("ValueT_co", covariant=True)

SERVICE_TYPE: Final = "placement"
HEADER: Final = "openstack-api-version"

OLDEST: Final = 0
AGGREGATES: Final = 1
RESOURCE_CLASSES: Final = 2
FILTER_BY_AGGREGATE: Final = 3
FILTER_BY_RESOURCES: Final = 4
DELETE_INVENTORIES: Final = 5
TRAITS: Final = 6
RESOURCE_CLASS_WITHOUT_BODY: Final = 7
CONSUMER_OWNER: Final = 8
TOTAL_USAGES: Final = 9
CANDIDATES: Final = 10
ALLOCATIONS_LINK: Final = 11
ALLOCATIONS_BY_PROVIDER: Final = 12
POST_ALLOCATIONS: Final = 13
NESTED_PROVIDERS: Final = 14
CACHE_HEADERS: Final = 15
CANDIDATE_LIMIT: Final = 16
CANDIDATE_TRAITS: Final = 17
FILTER_BY_TRAITS: Final = 18
AGGREGATE_GENERATION: Final = 19
CREATED_PROVIDER_SHOWN: Final = 20
CANDIDATE_AGGREGATES: Final = 21
FORBIDDEN_TRAITS: Final = 22
ERROR_CODES: Final = 23
REPEATED_MEMBER_OF: Final = 24
NUMBERED_GROUPS: Final = 25
RESERVE_ALL: Final = 26
SUMMARY_OF_ALL_CLASSES: Final = 27
CONSUMER_GENERATION: Final = 28
NESTED_CANDIDATES: Final = 29
RESHAPER: Final = 30
CANDIDATE_IN_TREE: Final = 31
FORBIDDEN_AGGREGATES: Final = 32
NAMED_GROUPS: Final = 33
MAPPINGS: Final = 34
ROOT_REQUIRED: Final = 35
SAME_SUBTREE: Final = 36
REPARENTING: Final = 37
CONSUMER_TYPES: Final = 38
ANY_TRAITS: Final = 39
NEWEST: Final = 39


class Since(Generic[ValueT_co]):
    """A value for each microversion, given by the minors at which it changes."""

    __slots__ = ("_by_minor", "oldest")

    def __init__(self, steps: Mapping[int, ValueT_co]) -> None:
        """``steps`` maps minors, in any order, to the value from each on; it must not be empty."""
        self.oldest = min(steps)
        by_minor: list[ValueT_co] = []
        for minor in range(self.oldest, NEWEST + 1):
            by_minor.append(steps[minor] if minor in steps else by_minor[-1])
        self._by_minor = tuple(by_minor)

    def at(self, minor: int) -> ValueT_co:
        """The value at ``minor``. Raises LookupError before the first step."""
        if minor < self.oldest:
            raise LookupError(f"nothing before 1.{self.oldest}: 1.{minor}")
        return self._by_minor[minor - self.oldest]


class MalformedVersionError(ValueError):
    """The header names a malformed version."""


class UnknownVersionError(ValueError):
    """The header names a version that this service does not support."""


def spelled(minor: int) -> str:
    """``1.N``."""
    return f"1.{minor}"


def negotiate(header: str | None) -> int:
    """Minor that a client asks for with the value of its ``openstack-api-version`` header.

    The last entry for this service in a list of ``<service> <version>`` wins; other services' entries are
    ignored; without any entry it is the oldest version. Source: the API guideline on microversions, and
    observations of the reference.

    Raises MalformedVersionError, UnknownVersionError.
    """
    if header is None:
        return OLDEST
    usual = _USUAL.get(header)
    return _negotiated(header) if usual is None else usual


NAMES: Final = tuple(f"{SERVICE_TYPE} {spelled(minor)}" for minor in range(NEWEST + 1))
"""The value of the header for each minor."""

_USUAL: Final = {name: minor for minor, name in enumerate(NAMES)} | {f"{SERVICE_TYPE} latest": NEWEST}
"""Minors by the headers that nearly all clients send; they need no reading."""


def _negotiated(header: str) -> int:
    wanted = _wanted(header)
    if wanted is None:
        return OLDEST
    if wanted == "latest":
        return NEWEST
    major, dot, minor = wanted.partition(".")
    try:
        number = (int(major), int(minor if dot else ""))
    except ValueError as error:
        raise MalformedVersionError(f"invalid version string: {wanted}; {error}") from None
    if number[0] != 1 or not OLDEST <= number[1] <= NEWEST:
        raise UnknownVersionError(f"Unacceptable version header: {wanted}")
    return number[1]


def _wanted(header: str) -> str | None:
    for entry in reversed(header.split(",")):
        service, *version = entry.strip().split(None, 1)[:2] or [""]
        if version and service.lower() == SERVICE_TYPE:
            return version[0].strip()
    return None

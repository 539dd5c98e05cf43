"""Query strings: what they say, and whether their microversion lets them say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from moorage.api import limits, uuids, versions
from moorage.api.schemas import Validator, group_key
from moorage.api.wire_error import bad_request
from moorage.model.valueclass import valueclass
from moorage.model.values import MAX_INT

INVALID: Final = "Invalid query string parameters: "

IMPOSSIBLE_AMOUNT: Final = MAX_INT + 1
"""No inventory can hold more than MAX_INT of anything, so whoever asks for more may as well ask
for this: the answer is the same, and the search never sees a number that its columns cannot."""


KNOWN: Final = 1024
"""Queries whose reading is remembered. Clients ask for the same flavors over and over, and reading
a query takes longer than the search for it."""

LONGEST_KNOWN: Final = 2048
"""Characters of a query string that may be remembered: above all but the oddest, and few enough
that all together are some ten megabytes at most."""


@valueclass(frozen=True, slots=True)
class Query:
    """Parameters of a query string in order, names repeated as they were.

    ``counts``: how many things it names, by what ``limits`` calls them; empty if nobody counted.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)

    def all(self, name: str) -> list[str]:
        """All values of ``name`` in order."""
        return [value for key, value in self.pairs if key == name]

    def last(self, name: str) -> str | None:
        """The value that counts where only one can."""
        return next((value for key, value in reversed(self.pairs) if key == name), None)

    def first(self, name: str) -> str | None:
        """The first value of ``name``."""
        return next((value for key, value in self.pairs if key == name), None)


def parse(query_string: str) -> Query:
    """Parameters of a WSGI ``QUERY_STRING``.

    Raises WireError (400) for what is not UTF-8.
    """
    # wire: a semicolon separates as well as an ampersand does.
    query_string = query_string.replace(";", "&")
    try:
        text = query_string.encode("latin-1").decode("utf-8")
        pairs = tuple(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeError as error:
        raise bad_request(f"{INVALID}{error}") from None
    return Query(pairs)


def read(query_string: str, validator: Validator) -> Query:
    """``parse`` and ``validate``: at once if this was asked lately.

    Raises WireError (400), also for NUL, which no database has in text.
    """
    if len(query_string) > LONGEST_KNOWN:
        return _read(query_string, validator)
    return _known(query_string, validator)


def _read(query_string: str, validator: Validator) -> Query:
    query = parse(query_string)
    validate(query, validator)
    if any("\0" in name or "\0" in value for name, value in query.pairs):
        raise bad_request(f"{INVALID}NUL characters are not allowed")
    return Query(query.pairs, counted(query.pairs))


_known: Final = lru_cache(maxsize=KNOWN)(_read)

_GROUP_KEY: Final = re.compile(group_key(versions.NEWEST))


def counted(pairs: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """How many request groups, traits and aggregates parameters name, repeated ones included."""
    suffixes: set[str] = set()
    names = {limits.TRAITS: 0, limits.AGGREGATES: 0}
    for key, value in pairs:
        match = _GROUP_KEY.match(key)
        if match is not None:
            suffixes.add(match[2] or "")
        kind = match[1] if match is not None else key
        if kind in {"required", "root_required"}:
            names[limits.TRAITS] += value.count(",") + 1
        elif kind == "member_of":
            names[limits.AGGREGATES] += value.count(",") + 1
    return {limits.REQUEST_GROUPS: len(suffixes), **names}


def validate(query: Query, validator: Validator) -> None:
    """Hold ``query`` against the schema of its microversion. Raises WireError (400)."""
    # wire: of a repeated parameter the last is judged; but of "limit" the first is used, and what
    # is used has to be right.
    values = dict(query.pairs)
    limit = query.first("limit")
    for seen in (values,) if limit is None else (values, values | {"limit": limit}):
        error = validator.error(seen)
        if error is not None:
            raise bad_request(f"{INVALID}{error}")


def resources(value: str) -> dict[str, int]:
    """Amounts by class of ``CLASS:AMOUNT,CLASS:AMOUNT``; of a class named twice the last counts.

    Raises WireError (400).
    """
    form = (
        "Badly formed resources parameter. Expected resources query string parameter in form: "
        "?resources=VCPU:2,MEMORY_MB:1024. Got: "
    )
    if not value.strip():
        raise bad_request(f"{form}empty string.")
    amounts: dict[str, int] = {}
    for item in value.split(","):
        resource_class, *rest = item.split(":")
        if len(rest) != 1:
            raise bad_request(f"{form}{item}.")
        try:
            # wire: whatever Python takes for a whole number, such as "+1" or "1_0".
            amount = int(rest[0])
        except ValueError:
            raise bad_request(
                f"Requested resource {resource_class} expected positive integer amount. Got: {rest[0]}."
            ) from None
        if amount < 1:
            raise bad_request(f"Requested resource {resource_class} requires amount >= 1. Got: {amount}.")
        amounts[resource_class] = min(amount, IMPOSSIBLE_AMOUNT)
    return amounts


def traits(
    values: list[str], may_forbid: bool, may_choose: bool
) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Required traits (an AND of ORs) and forbidden ones of all values of a ``required``.

    ``may_forbid`` allows ``!TRAIT``, ``may_choose`` allows ``in:A,B``. Raises WireError (400).
    """
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values:
        if value.startswith("in:"):
            required.append(_any_traits(value, may_choose))
            continue
        names = [name.strip() for name in value.split(",")]
        # wire: any number of exclamation marks is one.
        unwanted = {name.lstrip("!") for name in names if name.startswith("!")}
        if not all(names) or not all(unwanted):
            form = "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if may_forbid else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
            raise bad_request(
                f"{INVALID}Expected 'required' parameter value of the form: {form}. "
                f"Got an empty trait in: {value}"
            )
        if unwanted and not may_forbid:
            raise bad_request(
                f"{INVALID}Expected 'required' parameter value of the form: "
                f"HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {value}"
            )
        wanted = dict.fromkeys(name for name in names if not name.startswith("!"))
        required.extend(frozenset({name}) for name in wanted)
        forbidden |= unwanted
    return tuple(required), frozenset(forbidden)


def _any_traits(value: str, may_choose: bool) -> frozenset[str]:
    if not may_choose:
        raise bad_request(
            f"{INVALID}The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since "
            f"microversion 1.39. Got: {value}"
        )
    names = frozenset(name.strip() for name in value[3:].split(","))
    if not all(names):
        raise bad_request(
            f"{INVALID}Expected 'required' parameter value of the form: "
            f"in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: {value}"
        )
    if any(name.startswith("!") for name in names):
        raise bad_request(
            f"{INVALID}The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' does not support forbidden "
            f"traits. Got: {value}"
        )
    return names


def traits_at(query: Query, name: str, minor: int) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """``traits`` of the parameter ``name`` as ``minor`` understands it. Raises WireError (400)."""
    values = query.all(name)
    may_choose = minor >= versions.ANY_TRAITS
    if not may_choose:
        values = values[-1:]
    return traits(values, minor >= versions.FORBIDDEN_TRAITS, may_choose)


def member_of_at(query: Query, suffix: str, minor: int) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Aggregates wanted (an AND of ORs) and unwanted ones of a group's ``member_of``.

    Raises WireError (400).
    """
    values = query.all(f"member_of{suffix}")
    if len(values) > 1 and minor < versions.REPEATED_MEMBER_OF:
        raise bad_request(f"Multiple member_of{suffix} parameters are not supported")
    wanted: list[frozenset[str]] = []
    unwanted: frozenset[str] = frozenset()
    for value in values:
        forbidden, aggregates = _member_of(value)
        if not forbidden:
            wanted.append(aggregates)
        elif minor < versions.FORBIDDEN_AGGREGATES:
            raise bad_request(
                f"Forbidden member_of{suffix} parameters are not supported in the specified microversion"
            )
        else:
            unwanted |= aggregates
    return tuple(wanted), unwanted


def _member_of(value: str) -> tuple[bool, frozenset[str]]:
    """Whether one ``member_of`` forbids, and its aggregates."""
    forbidden = value.startswith("!")
    listed = value.removeprefix("!")
    if listed.startswith("in:"):
        aggregates = frozenset(listed.removeprefix("in:").split(","))
    elif "," in value:
        raise bad_request(
            "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword "
            f"using the valid microversion. Got: {value}"
        )
    else:
        aggregates = frozenset({listed})
    for aggregate in sorted(aggregates):
        if not uuids.is_uuid_like(aggregate):
            raise bad_request(
                f"{INVALID}Expected 'member_of' parameter to contain valid UUID(s). Got: {aggregate}"
            )
    return forbidden, aggregates


def in_tree(value: str) -> str:
    """The provider that an ``in_tree`` of a request group names. Raises WireError (400)."""
    uuid = value.strip()
    if not uuids.is_uuid_like(uuid):
        raise bad_request(f"{INVALID}Expected 'in_tree' parameter to be a format of uuid. Got: {value}")
    return uuid

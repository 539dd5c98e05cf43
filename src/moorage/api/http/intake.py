"""What the service takes in of a request: the limits of its size, and its body as JSON.

No single request may block a worker. Steps bound the cost of a search; the limits here come before it: bytes,
and how many things a query string or a body names. Bodies are counted before they are validated, so they may
have any shape here; missing parts count as 0.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, Protocol

from moorage.api.http import quoting
from moorage.api.http.exchange import JSON
from moorage.api.http.settings import Limits
from moorage.api.http.validation import Validator
from moorage.api.http.wire_error import WireError, bad_request
from moorage.model.errors import UnavailableError

LARGE_BODY: Final = 16 * 1024
"""Bytes. python-jsonschema compares all errors of a body, and quotes the refused part in full. That takes
minutes for megabytes. For a larger body, or one nested deeper than any valid one, the answer is the first
error, with the beginning of the refused part."""

MAX_QUOTE: Final = 1024
"""Characters of the refused part that the answer to such a body quotes."""

MAX_VALUES: Final = 1_000_000
"""Lists, objects and values of a body. The most names that a configuration can allow (``settings.MAX_NAMES``)
need fewer. Reading a list of five million numbers takes half a second, during which no other thread runs."""

MALFORMED: Final = "Malformed JSON: "

TOO_DEEP: Final = f"{MALFORMED}nested too deeply"

MAX_NESTING: Final = 500
"""Lists and objects inside each other. The limit of Python's JSON reader depends on the version of Python,
and in the newest ones on the size of the stack. This limit makes answers independent of it."""

MAX_DRAINED: Final = 64 * 1024
"""The most bytes of an unread body that the service reads before it sends a refusal. A server must close a
connection that has an unread body, and a client that reuses connections then fails. Above this size closing
is cheaper than reading."""

DOUBLED: Final = "moorage.doubled_header"
"""Key of the environ: the name of a header that came twice, though only one can count."""

TAKEN: Final = "moorage.body_taken"
"""Key of the environ that says that the body was read."""


class Readable(Protocol):
    """A WSGI input."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


def check_media_type(content_type: str | None) -> None:
    """Check that the body is JSON. Raises WireError (415)."""
    # wire: in lower case only, and without a space before the parameters.
    media_type = (content_type or "").split(";")[0]
    if media_type != JSON:
        raise WireError(415, f"The media type {media_type or None} is not supported, use {JSON}")


def is_unread(environ: Mapping[str, Any]) -> bool:
    """Whether a small body is still unread, so that the connection cannot be reused."""
    length: str = environ.get("CONTENT_LENGTH") or ""
    is_small = length.isdecimal() and len(length) <= len(str(MAX_DRAINED))
    return is_small and TAKEN not in environ and 0 < int(length) <= MAX_DRAINED


def drain(environ: MutableMapping[str, Any]) -> None:
    """Read an unread body, so that the connection can be reused."""
    environ[TAKEN] = True
    _read(environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))


def read(environ: MutableMapping[str, Any], max_bytes: int) -> bytes:
    """The whole body, of at most ``max_bytes``.

    Raises WireError (400, 408, 413). Raises UnavailableError if the server already reads too many bodies.
    """
    environ[TAKEN] = True
    length = environ.get("CONTENT_LENGTH")
    if length:
        wanted = int(length)
        too_long = wanted > max_bytes
    else:
        # The server marks the end of a chunked body. Reading one byte beyond the limit shows that it is too
        # long.
        wanted = max_bytes + 1 if environ.get("wsgi.input_terminated") else 0
        too_long = False
    content = b"" if too_long else _read(environ["wsgi.input"], wanted)
    if too_long or len(content) > max_bytes:
        raise WireError(413, f"The request body must not be longer than {max_bytes} bytes.")
    if length and len(content) < wanted:
        # The received part may be valid JSON, but it is not the request that the client meant.
        raise bad_request(f"The request body ended after {len(content)} of {wanted} bytes.")
    return content


def _read(stream: Readable, wanted: int) -> bytes:
    parts: list[bytes] = []
    while wanted > 0:
        try:
            part = stream.read(wanted)
        except BlockingIOError as error:
            raise UnavailableError(str(error)) from None
        except TimeoutError:
            raise WireError(408, "The request body did not arrive in time.") from None
        except OSError:
            raise bad_request("The request body could not be read to its end.") from None
        if not part:
            break
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _any(decoded: object) -> None:
    """Accept everything."""


def decode(content: bytes, validator: Validator, count: Callable[[object], None] = _any, few: int = 0) -> Any:
    """Decode JSON and validate it, after ``count`` has admitted its size. Raises WireError (400).

    ``count`` admits all bodies of ``few`` values.
    """
    if len(content) > MAX_VALUES and values_of(content) > MAX_VALUES:
        raise bad_request(f"The request body has more than {MAX_VALUES} values, which is the limit.")
    try:
        decoded, fault = _reader().read(content.decode("utf-8"))
    except ValueError as error:
        raise bad_request(f"{MALFORMED}{error}") from None
    except RecursionError:
        raise bad_request(TOO_DEEP) from None
    # Counting is quick, and usual bodies stay below the limit or have few values for their size.
    if content.count(b"[") + content.count(b"{") > MAX_NESTING and quoting.is_deep(decoded, MAX_NESTING):
        raise bad_request(TOO_DEEP)
    if values_of(content) > few:
        count(decoded)
    check(decoded, validator, is_large=len(content) > LARGE_BODY)
    # wire: errors of the schema come before values that no database can store.
    if fault is not None:
        raise bad_request(f"{MALFORMED}{fault}")
    try:
        if b"\\" in content:
            _check_strings(decoded)
    except ValueError as error:
        raise bad_request(f"{MALFORMED}{error}") from None
    return decoded


def values_of(content: bytes) -> int:
    """An upper bound on the values of a JSON text; commas and brackets inside its strings count as well."""
    return 1 + content.count(b",") + content.count(b"[") + content.count(b"{")


def check(decoded: object, validator: Validator, is_large: bool = False) -> None:
    """Validate ``decoded`` by a schema. Raises WireError (400)."""
    try:
        error = validator.error(decoded, is_large)
        if error is None:
            return
        in_full = not is_large and not quoting.is_deep(decoded)
        text = str(error) if in_full else quoting.bounded(error.message, MAX_QUOTE)
    except RecursionError:
        raise bad_request(TOO_DEEP) from None
    raise bad_request(f"JSON does not validate: {text}")


class _Reader:
    """Python's JSON reader, which also reports numbers that JSON does not have. For one thread."""

    def __init__(self) -> None:
        self._fault: str | None = None
        self._decoder = json.JSONDecoder(parse_constant=self._constant, parse_float=self._number)

    def read(self, text: str) -> tuple[Any, str | None]:
        """The decoded text, and what is wrong with a number in it. Raises ValueError, RecursionError."""
        if text.startswith(_BOM):
            json.loads(text)  # Raises the error with its position, which the decoder lacks.
        self._fault = None
        return self._decoder.decode(text), self._fault

    def _constant(self, name: str) -> float:
        """NaN and the infinities, which Python accepts as JSON."""
        self._fault = f"{name} is not JSON"
        return float(name)

    def _number(self, digits: str) -> float:
        """A number with a fraction or an exponent."""
        value = float(digits)
        if not math.isfinite(value):
            self._fault = "a number is too large"
        return value


_BOM: Final = "\ufeff"

_readers: Final = threading.local()


def _reader() -> _Reader:
    """The reader of this thread: making one takes as long as reading a claim."""
    reader: _Reader | None = getattr(_readers, "own", None)
    if reader is None:
        reader = _readers.own = _Reader()
    return reader


def _check_strings(decoded: object) -> None:
    """Refuse characters that escapes can bring into text.

    Databases cannot store NUL and halves of surrogate pairs. No valid key ends with a newline, but a
    pattern's ``$`` admits it. Raises ValueError.
    """
    waiting = [decoded]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            for key, value in item.items():
                _check_text(key)
                if key.endswith("\n"):
                    raise ValueError("a key ends with a newline")
                waiting.append(value)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("NUL characters are not allowed")
    if not text.isascii():
        text.encode("utf-8")


REQUEST_GROUPS: Final = "request groups"
SUBTREE_GROUPS: Final = "subtree groups"
TRAITS: Final = "traits"
AGGREGATES: Final = "aggregates"
INVENTORIES: Final = "inventories"
ALLOCATIONS: Final = "allocations"

BodyCounts = tuple[tuple[str, Callable[[object], int]], ...]
"""How to count what a body names: kinds of things, each with a function of the decoded body."""

_LIMITS: Final[Mapping[str, Callable[[Limits], int]]] = {
    REQUEST_GROUPS: lambda limits: limits.request_groups,
    SUBTREE_GROUPS: lambda limits: limits.subtree_groups,
    TRAITS: lambda limits: limits.traits,
    AGGREGATES: lambda limits: limits.aggregates,
    INVENTORIES: lambda limits: limits.inventories,
    ALLOCATIONS: lambda limits: limits.allocations,
}


def check_counts(counts: Mapping[str, int], limits: Limits) -> None:
    """Check ``counts``, by kind of thing, against the limits. Raises WireError (400)."""
    for what, count in counts.items():
        most = _LIMITS[what](limits)
        if count > most:
            raise bad_request(f"The request names {count} {what}; at most {most} are allowed.")


def check_body(counts: BodyCounts, decoded: object, limits: Limits) -> None:
    """Check how many things a body names, counted by ``counts``. Raises WireError (400)."""
    check_counts({what: count(decoded) for what, count in counts}, limits)


def part(value: object, key: str) -> object:
    """The value of ``key``; None where there is none."""
    return value.get(key) if isinstance(value, dict) else None


def items(value: object) -> Iterable[object]:
    """The items of a list, the values of an object; nothing for anything else."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def size(value: object) -> int:
    """Number of items; 0 for anything but a list or an object."""
    return len(value) if isinstance(value, dict | list) else 0


def part_size(key: str) -> Callable[[object], int]:
    """Counts the items of a body's ``key``."""
    return lambda body: size(part(body, key))


def sizes(value: object, key: str) -> list[int]:
    """Number of items of the ``key`` of each item, where none counts as one."""
    return [size(part(item, key)) or 1 for item in items(value)]


def inner_sizes(key: str, inner: str) -> Callable[[object], int]:
    """Counts the items of the ``inner`` of each item of a body's ``key``, where none counts as one."""
    return lambda body: sum(sizes(part(body, key), inner)) or 1

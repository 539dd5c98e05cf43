"""Bodies of requests: how much is read, and what is taken for JSON."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol

from moorage.api.accept import JSON
from moorage.api.schemas import Validator
from moorage.api.wire_error import WireError, bad_request
from moorage.model.errors import UnavailableError

LARGE_BODY: Final = 64 * 1024
"""Bytes. python-jsonschema weighs all errors and quotes what it refuses; of a larger body it tells
the first error and the start of it, since to go through megabytes takes minutes and helps nobody."""

MAX_QUOTE: Final = 1024
"""Characters that are quoted of a refusal of such a body."""

MALFORMED: Final = "Malformed JSON: "

TOO_DEEP: Final = f"{MALFORMED}nested too deeply"


MAX_DRAINED: Final = 64 * 1024
"""Bytes of an unread body that are taken in before a refusal goes out. A server must close a
connection with a body left on it, and a client that keeps connections then meets a closed one; past
this size closing it is cheaper than reading."""

_TAKEN: Final = "moorage.body_taken"
"""Key of the environ: the body has been read."""


class Readable(Protocol):
    """A WSGI input."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


def check_headers(environ: Mapping[str, Any]) -> None:
    """A body needs a content type, and a length that is a number. Raises WireError (400)."""
    length = environ.get("CONTENT_LENGTH")
    try:
        has_body = length is not None and length != "" and int(length) > 0
    except ValueError:
        raise bad_request("content-length header must be an integer") from None
    if has_body and not environ.get("CONTENT_TYPE"):
        raise bad_request("content-type header required when content-length > 0")


def check_media_type(content_type: str | None) -> None:
    """Only JSON is taken. Raises WireError (415)."""
    # wire: in lower case only, and with no space before what follows.
    media_type = (content_type or "").split(";")[0]
    if media_type != JSON:
        raise WireError(415, f"The media type {media_type or None} is not supported, use {JSON}")


def drain(environ: MutableMapping[str, Any]) -> None:
    """Take in a small body that nobody read, so that the connection can be used again."""
    length = environ.get("CONTENT_LENGTH")
    if length and _TAKEN not in environ and length.isdecimal() and int(length) <= MAX_DRAINED:
        environ[_TAKEN] = True
        _read(environ["wsgi.input"], int(length))


def read(environ: MutableMapping[str, Any], max_bytes: int) -> bytes:
    """The whole body, which must not be longer than ``max_bytes``. Raises WireError (400, 408, 413),
    UnavailableError if the server reads too many bodies already."""
    environ[_TAKEN] = True
    length = environ.get("CONTENT_LENGTH")
    if length:
        wanted = int(length)
        too_long = wanted > max_bytes
    else:
        # Where the server marks the end itself (a body in chunks), one byte beyond the limit is
        # enough to see that it is too long.
        wanted = max_bytes + 1 if environ.get("wsgi.input_terminated") else 0
        too_long = False
    content = b"" if too_long else _read(environ["wsgi.input"], wanted)
    if too_long or len(content) > max_bytes:
        raise WireError(413, f"The request body must not be longer than {max_bytes} bytes.")
    if length and len(content) < wanted:
        # What came may make sense by itself, but it is not what was to be said.
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
    """Take all."""


def decode(content: bytes, validator: Validator, count: Callable[[object], None] = _any) -> Any:
    """JSON that its schema takes; what ``count`` refuses is not held against it. Raises WireError (400)."""
    try:
        decoded, fault = _reader().read(content.decode("utf-8"))
    except ValueError as error:
        raise bad_request(f"{MALFORMED}{error}") from None
    except RecursionError:
        raise bad_request(TOO_DEEP) from None
    count(decoded)
    check(decoded, validator, is_large=len(content) > LARGE_BODY)
    # wire: what the schema says of a body comes before what else nobody can keep of it.
    if fault is not None:
        raise bad_request(f"{MALFORMED}{fault}")
    try:
        if b"\\" in content:
            _check_strings(decoded)
    except ValueError as error:
        raise bad_request(f"{MALFORMED}{error}") from None
    return decoded


def check(decoded: object, validator: Validator, is_large: bool = False) -> None:
    """Hold ``decoded`` against a schema. Raises WireError (400)."""
    try:
        error = validator.error(decoded, is_large)
        if error is None:
            return
        text = error.message[:MAX_QUOTE] if is_large else str(error)
    except RecursionError:
        raise bad_request(TOO_DEEP) from None
    raise bad_request(f"JSON does not validate: {text}")


class _Reader:
    """Python's JSON reader, which also tells of numbers that are none. For one thread."""

    def __init__(self) -> None:
        self._fault: str | None = None
        self._decoder = json.JSONDecoder(parse_constant=self._constant, parse_float=self._number)

    def read(self, text: str) -> tuple[Any, str | None]:
        """What the text says, and what is wrong with a number in it. Raises ValueError, RecursionError."""
        if text.startswith(_BOM):
            json.loads(text)  # It says what is wrong, which a decoder does not know.
        self._fault = None
        return self._decoder.decode(text), self._fault

    def _constant(self, name: str) -> float:
        """NaN and the infinities, which Python takes for JSON."""
        self._fault = f"{name} is not JSON"
        return float(name)

    def _number(self, digits: str) -> float:
        """One with a fraction or an exponent."""
        value = float(digits)
        if not math.isfinite(value):
            self._fault = "a number is too large"
        return value


_BOM: Final = "\ufeff"

_readers: Final = threading.local()


def _reader() -> _Reader:
    """The thread's own: to make one takes as long as to read a claim."""
    reader: _Reader | None = getattr(_readers, "own", None)
    if reader is None:
        reader = _readers.own = _Reader()
    return reader


def _check_strings(decoded: object) -> None:
    """Refuse what an escape can smuggle into text: NUL and halves of surrogate pairs, which
    databases cannot keep, and line ends in keys, which no key has but the pattern's ``$`` lets
    pass. Raises ValueError.
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

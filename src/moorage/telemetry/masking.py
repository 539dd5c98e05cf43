"""Masks passwords and tokens in all lines of the log, also in errors of drivers that are logged in full.

Lines quote input of clients. So the search for secrets takes time in proportion to a line's length for any
content. It masks only the secret: no client can hide the rest of a line by its input.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Final

from moorage.telemetry.records import ACCESS

MASK: Final = "***"

Span = tuple[int, int]
"""First offset of a secret, and the offset after its last character."""

_OWN_TOKEN: Final = re.compile(r"moorage_[0-9a-f]{16}_(?P<secret>[A-Za-z0-9_-]{43})")

_SCHEME_END: Final = re.compile(r"[a-z0-9+.-]", re.IGNORECASE)
_USER: Final = re.compile(r"[^\s:/@'\"]*")
_WORD: Final = re.compile(r"[^\s'\"]*")
_PORT: Final = re.compile(r"[0-9]{1,5}[/?#]")
_AUTHORITY: Final = re.compile(r"[^/?#,;&\s'\"]*")

_WORDS: Final = ("pass", "pswd", "secret", "token", "_key")
_KEY: Final = re.compile(
    r"(?:pass(?:word|wd|phrase)?|pswd|secret(?:_uuid|_key)?|token|private_key|encrypted_key)(?![a-z])"
    r"[0-9]{0,9}(?P<closing>\\?['\"]?)(?P<gap>\s{0,9}(?P<sign>[=:,>]?)\s{0,9})"
    r"(?:[bu](?=\\?['\"]))?(?P<opening>\\?['\"]?)",
    re.IGNORECASE,
)
"""The end of a setting's name that contains one of ``_WORDS``, with the separator before the value."""

_LONGEST_NAME: Final = 48
_HEADER: Final = re.compile(r"X[-_](?:Auth|Subject|Service)[-_]\Z", re.IGNORECASE)
_OPTION: Final = re.compile(r"--[a-z_-]{0,40}\Z", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"[?&;][a-z_-]{0,40}\Z", re.IGNORECASE)
_ELEMENT: Final = re.compile(r"<[a-z_-]{0,40}\Z", re.IGNORECASE)
"""Patterns of the text before a key. Only the last ``_LONGEST_NAME`` characters before it are matched."""

_IN_QUOTES: Final = {
    "'": re.compile(r"(?:[^'\\\n]|\\.)*+"),
    '"': re.compile(r"(?:[^\"\\\n]|\\.)*+"),
}
_OF_SETTING: Final = re.compile(r"[^\s'\"\\]*")
_OF_HEADER: Final = re.compile(r"[^\s'\"\\,;}]*")
_OF_PARAMETER: Final = re.compile(r"[^\s'\"\\&;]*")
_OF_ELEMENT: Final = re.compile(r"[^<\n]*")
"""Patterns of values, by the context of the value."""


def masked(text: str) -> str:
    """``text`` with stars for passwords in URLs and in what looks like settings, and for tokens."""
    if "moorage_" in text:
        text = _starred(text, (found.span("secret") for found in _OWN_TOKEN.finditer(text)))
    if "://" in text:
        text = _starred(text, _passwords_in_urls(text))
    lowered = text.lower()
    if any(word in lowered for word in _WORDS):
        text = _starred(text, _values_of_settings(text))
    return text


def _starred(text: str, spans: Iterable[Span]) -> str:
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += text[done:start], MASK
        done = end
    return "".join((*parts, text[done:]))


def _passwords_in_urls(text: str) -> Iterator[Span]:
    word_end = last_at = at = 0
    while (found := text.find("://", at)) >= 0:
        at = found + 3
        user_end = _ended(_USER, text, at)
        if not found or not _SCHEME_END.match(text, found - 1) or not text.startswith(":", user_end):
            continue
        start = user_end + 1
        if start >= word_end:
            # Computed once for all URLs of a word, which may be many.
            word_end = _ended(_WORD, text, start)
            last_at = text.rfind("@", start, word_end)
        if last_at <= start or _PORT.match(text, start):
            continue
        at = _password_end(text, start)
        if at > start:
            yield start, at


def _password_end(text: str, start: int) -> int:
    """The end of the password that begins at ``start``; the same word has an at sign later.

    The end is the last at sign before the host's end, because a password may contain unescaped at signs. A
    password may also contain characters that end a host; then the next at sign is its end.
    """
    part, part_end = start, _ended(_AUTHORITY, text, start)
    while (end := text.rfind("@", part, part_end)) < 0:
        part, part_end = part_end + 1, _ended(_AUTHORITY, text, part_end + 1)
    return end


def _values_of_settings(text: str) -> Iterator[Span]:
    done = 0
    for found in _KEY.finditer(text):
        if found.start() < done:
            continue
        before = text[max(0, found.start() - _LONGEST_NAME) : found.start()]
        if _has_value(found, before):
            end = _value_end(text, found, before)
            if end > found.end():
                done = end
                yield found.end(), end


def _has_value(found: re.Match[str], before: str) -> bool:
    """Whether the text after a key is its value."""
    quotes = found["closing"], found["opening"]
    match found["sign"]:
        case "=":
            return True
        case ":":
            return any(quotes) or _HEADER.search(before) is not None
        case ",":
            return all(quotes)
        case ">":
            return _ELEMENT.search(before) is not None
    if found["closing"] or not found["gap"]:
        return False
    return bool(found["opening"]) or _OPTION.search(before) is not None


def _value_end(text: str, found: re.Match[str], before: str) -> int:
    """The end of the value that follows a key."""
    quote, start = found["opening"], found.end()
    if quote in _IN_QUOTES:
        end = _ended(_IN_QUOTES[quote], text, start)
        if text.startswith(quote, end):
            return end
    if found["sign"] == ">":
        kind = _OF_ELEMENT
    elif _HEADER.search(before):
        kind = _OF_HEADER
    elif _PARAMETER.search(before):
        kind = _OF_PARAMETER
    else:
        kind = _OF_SETTING
    return _ended(kind, text, start)


def _ended(kind: re.Pattern[str], text: str, start: int) -> int:
    """The end of the longest match of ``kind`` at ``start``, which may be empty."""
    found = kind.match(text, start)
    return start if found is None else found.end()


class MaskingFormatter(logging.Formatter):
    """Masks what another formatter makes of a record, with its exception.

    The lines about requests are already masked part by part, so that no part can hide another.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, of a record."""
        text = self._inner.format(record)
        return text if record.name == ACCESS.name else masked(text)


def mask_handlers(logger: logging.Logger) -> None:
    """Have all present handlers of ``logger`` mask what they write."""
    for handler in logger.handlers:
        inner = handler.formatter or logging.Formatter()
        if not isinstance(inner, MaskingFormatter):
            handler.setFormatter(MaskingFormatter(inner))

"""No password and no token in a log, whoever wrote the line: also a driver whose error is logged in full."""

from __future__ import annotations

import logging
import re
from typing import Final

from oslo_utils import strutils

MASK: Final = "***"

_IN_URL: Final = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s'\"]+@", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"(?P<before>\b(?:HTTP[-_])?X[-_](?:Auth|Subject|Service)[-_]Token['\"]?\s*[:=,]\s*b?['\"]?)[^\s'\",}]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """``text`` with stars for passwords in URLs and in what looks like settings, and for tokens."""
    if "://" in text:
        text = _IN_URL.sub(rf"\g<before>{MASK}@", text)
    text = _TOKEN.sub(rf"\g<before>{MASK}", text)
    masked_text: str = strutils.mask_password(text, MASK)
    return masked_text


class MaskingFormatter(logging.Formatter):
    """What another formatter makes of a record, exception and all, masked."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, of a record."""
        return masked(self._inner.format(record))


def mask_handlers(logger: logging.Logger) -> None:
    """Have all present handlers of ``logger`` mask what they write."""
    for handler in logger.handlers:
        inner = handler.formatter or logging.Formatter()
        if not isinstance(inner, MaskingFormatter):
            handler.setFormatter(MaskingFormatter(inner))

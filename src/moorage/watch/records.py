"""The log: the id of the request in every record of its thread, and a line for each request."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any, Final

from oslo_context.context import RequestContext

from moorage.api.observer import Ended
from moorage.api.versions import spelled

REQUEST_ID: Final = re.compile(r"req-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
"""What may be taken over from a client into the log: its own id of what it does."""

NO_ID: Final = "-"

ACCESS: Final = logging.getLogger("moorage.access")


class RecordContext(RequestContext):
    """What oslo.log adds to the records of a thread: one object per thread, filled anew per request.

    oslo.context's own constructor takes longer than a search may.
    """

    def __init__(self) -> None:
        self.request_id = NO_ID
        self.global_request_id = None
        self.update_store()

    def get_logging_values(self) -> dict[str, Any]:
        """The values that formats can name; formats of operators may name any of these."""
        return {
            "request_id": self.request_id,
            "global_request_id": self.global_request_id or NO_ID,
            "user_identity": "-",
            "resource_uuid": None,
            **dict.fromkeys(("user_name", "project_name", "user_domain_name", "project_domain_name"), "-"),
        }


class RequestRecords:
    """Observes requests for the log. ``lines``: write one for each."""

    def __init__(self, *, lines: bool) -> None:
        self._lines = lines
        self._local = threading.local()

    def request_begun(self, request_id: str, environ: Mapping[str, Any]) -> None:
        """From now on records of this thread carry the id."""
        context = self._context()
        context.request_id = request_id
        told = environ.get("HTTP_X_OPENSTACK_REQUEST_ID")
        context.global_request_id = told if told and REQUEST_ID.fullmatch(told) else None

    def request_ended(self, ended: Ended) -> None:
        """The line, if wanted; the thread's records carry no id any more."""
        if self._lines:
            ACCESS.info("%s", line_of(ended))
        context = self._context()
        context.request_id, context.global_request_id = NO_ID, None

    def _context(self) -> RecordContext:
        context: RecordContext | None = getattr(self._local, "context", None)
        if context is None:
            context = self._local.context = RecordContext()
        return context


def line_of(ended: Ended) -> str:
    """One request in one line. Names of headers and their values, tokens first of all, are not in it."""
    environ, identity = ended.environ, ended.identity
    query = environ.get("QUERY_STRING", "")
    target = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") + (f"?{query}" if query else "")
    who = "- -" if identity is None else f"{identity.user_id or '-'} {identity.project_id or '-'}"
    version = "-" if ended.minor is None else spelled(ended.minor)
    return (
        f"{environ.get('REMOTE_ADDR') or '-'} {_one_word(who)} "
        f'"{environ.get("REQUEST_METHOD", "-")} {_one_word(target)}" status: {ended.status} '
        f"len: {ended.length} microversion: {version} time: {ended.seconds:.6f}"
    )


def _one_word(text: str) -> str:
    """Text of a client that can neither end the line nor the quotes."""
    return "".join(
        letter if letter.isprintable() and letter != '"' else f"%{ord(letter):02X}" for letter in text
    )

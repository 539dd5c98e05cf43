"""The log: the id of the request in every record of its thread, and a line for each request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from oslo_context.context import RequestContext

from moorage.api.http.observer import CLIENTS_ID, REQUEST_ID, Ended
from moorage.api.placement.versions import spelled

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
        """The values that formats can name. An operator's format may name any of them."""
        return {
            "request_id": self.request_id,
            "global_request_id": self.global_request_id or NO_ID,
            "user_identity": "-",
            "resource_uuid": None,
            **dict.fromkeys(("user_name", "project_name", "user_domain_name", "project_domain_name"), "-"),
        }


class RequestRecords:
    """Observes requests for the log. ``lines``: write one for each; ``mask`` hides secrets in its parts."""

    def __init__(self, *, lines: bool, mask: Callable[[str], str]) -> None:
        self._lines = lines
        self._mask = mask
        self._local = threading.local()

    def request_begun(self, request_id: str, environ: Mapping[str, Any]) -> None:
        """From now on the log records of this thread carry the request's id."""
        context = self._context()
        context.request_id = request_id
        told = environ.get(CLIENTS_ID)
        context.global_request_id = told if told and REQUEST_ID.fullmatch(told) else None

    def request_ended(self, ended: Ended) -> None:
        """Write the line, if wanted. From now on the thread's records carry no id."""
        if self._lines:
            ACCESS.info("%s", line_of(ended, self._mask))
        context = self._context()
        context.request_id, context.global_request_id = NO_ID, None

    def _context(self) -> RecordContext:
        context: RecordContext | None = getattr(self._local, "context", None)
        if context is None:
            context = self._local.context = RecordContext()
        return context


def line_of(ended: Ended, mask: Callable[[str], str]) -> str:
    """One request in one line. It has no headers: a token would be among their values.

    Each part that a client may have chosen is masked on its own, so that none can hide another.
    """
    environ, identity = ended.environ, ended.identity
    query = environ.get("QUERY_STRING", "")
    target = mask(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    target += mask(f"?{query}") if query else ""
    who = "- -" if identity is None else f"{mask(identity.user_id or '-')} {mask(identity.project_id or '-')}"
    version = "-" if ended.minor is None else spelled(ended.minor)
    return (
        f"{_one_word(environ.get('REMOTE_ADDR') or '-')} {_one_word(who)} "
        f'"{_one_word(environ.get("REQUEST_METHOD", "-"))} {_one_word(target)}" status: {ended.status} '
        f"len: {ended.length} microversion: {version} time: {ended.seconds:.6f}"
    )


def _one_word(text: str) -> str:
    """A client's text, changed so that it can end neither the line nor the quotes."""
    return "".join(
        letter if letter.isprintable() and letter != '"' else f"%{ord(letter):02X}" for letter in text
    )

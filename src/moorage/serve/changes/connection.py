"""One client's connection: it takes what is sent at the client's speed, and can be given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

SENT_TOGETHER: Final = 64 * 1024
"""Bytes. The server holds about twice as much of what a client has not taken."""

LAST_SECONDS: Final = 10.0
"""How long a client may take to read why its stream has ended."""

CHUNKS_SINCE: Final = b"1.1"
"""Version of HTTP whose clients get a body in chunks; an older one gets it as it is, until the end."""


def chunk_of(content: bytes) -> bytes:
    """A part of a body as h11 frames it; nothing for nothing, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


Send = Callable[[Any], Awaitable[None]]


class Connection:
    """What an ASGI server's ``send`` belongs to.

    ``after`` is the revision up to which the client has been sent all. ``blocked_since`` is the loop's time
    at which sending began that has not ended; None while none is under way. ``keeps_up``: what comes after it
    was in memory once, so that the client has caught up.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        # The server's own object for request and answer: see the tests of what Moorage uses of it.
        self._cycle: Any = getattr(send, "__self__", None)
        self._task = asyncio.current_task()
        self.after = -1
        self.keeps_up = False
        self.blocked_since: float | None = None
        self.is_given_up = False

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed it."""
        return bool(self._cycle.disconnected or self._cycle.transport.is_closing())

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the answer."""
        told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def send(self, content: bytes) -> None:
        """Send a part of the body, as fast as the client takes it."""
        self.blocked_since = asyncio.get_running_loop().time()
        try:
            for begin in range(0, len(content), SENT_TOGETHER):
                part = content[begin : begin + SENT_TOGETHER]
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
                self.blocked_since = asyncio.get_running_loop().time()
        finally:
            self.blocked_since = None

    def write(self, chunk: bytes) -> bool:
        """Send a short part of the body at once; False, and nothing is sent, if that is not possible."""
        cycle = self._cycle
        if (
            self.blocked_since is not None
            or cycle.flow.write_paused
            or self.is_gone
            or len(chunk) > SENT_TOGETHER
            or cycle.conn.their_http_version != CHUNKS_SINCE
        ):
            return False
        # The state of h11 stays the same within a body.
        cycle.transport.write(chunk)
        return True

    def give_up(self) -> None:
        """Stop sending: the client does not take what it is sent."""
        self.is_given_up = True
        if self._task is not None:
            self._task.cancel()

    async def finish(self, content: bytes = b"", *, for_good: bool = False) -> None:
        """Send the last part of the body. ``for_good``: and close the connection, in some seconds at most."""
        if for_good:
            # The last words go behind what the client has not taken.
            self._cycle.flow.resume_writing()
            self._cycle.keep_alive = False
            asyncio.get_running_loop().call_later(LAST_SECONDS, self._cycle.transport.abort)
        await self._send({"type": "http.response.body", "body": content, "more_body": False})


class Protocol(H11Protocol):
    """Closes a connection on which no request came in time. Its server does so after an answer only."""

    def connection_made(self, transport: Any) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        cycle: Any = self.cycle
        if cycle is None:
            self.transport.close()

"""What Granian's ASGI worker hands over, for tests without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def message(content: bytes, more: bool) -> dict[str, Any]:
    """A piece of a body."""
    return {"type": "http.request", "body": content, "more_body": more}


BROKEN_OFF = {"type": "http.disconnect"}


class Future:
    """A piece that is there, or comes once ``arrive`` says so."""

    def __init__(self, content: Any = None) -> None:
        self.cancelled = False
        self._content = content
        self._callbacks: list[Callable[[Any], None]] = []
        self._waits: Callable[[], None] | None = None

    def on_wait(self, react: Callable[[], None]) -> Future:
        """``react`` is called by the thread that is going to wait."""
        self._waits = react
        return self

    def done(self) -> bool:
        return self._content is not None

    def result(self) -> Any:
        assert self.done()
        return self._content

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)
        if self._waits is not None:
            self._waits()

    def cancel(self) -> None:
        self.cancelled = True

    def arrive(self, content: Any) -> None:
        self._content = content
        for callback in self._callbacks:
            callback(self)


class Protocol:
    """Hands over ``futures``, one at each ``receive``, and remembers what was sent."""

    def __init__(self, futures: Iterable[Future] = ()) -> None:
        self._futures = list(futures)
        self.sent: list[Any] = []

    def receive(self) -> Future:
        return self._futures.pop(0)

    def send(self, told: Any) -> None:
        self.sent.append(told)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return bytes(self.sent[1]["body"])


class Watcher:
    """A request with its connection."""

    def __init__(self, scope: dict[str, Any], protocol: Protocol) -> None:
        self.scope = scope
        self.proto = protocol
        self.errors: list[BaseException] = []

    def err(self, error: BaseException) -> None:
        self.errors.append(error)


def scope(*headers: tuple[bytes, bytes], **parts: Any) -> dict[str, Any]:
    """A request for ``/`` with these headers."""
    return {
        "type": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", "8778"),
        "client": ("192.0.2.1", "4711"),
        "scheme": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": list(headers),
        **parts,
    }

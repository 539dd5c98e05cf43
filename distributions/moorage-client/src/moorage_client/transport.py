"""HTTP/1.1 over kept connections, with the standard library alone.

A request is sent again when the connection breaks and when the service answers 503, after the pause that
``Retry-After`` names. That is safe: a request only reads, or it has an idempotency key, with which the
service carries it out once. If the service takes too long, a read is not sent again, because that would add
to its load. A write is, because only so the client learns whether it took effect.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable
from urllib.parse import urlsplit

from moorage_client.auth import Auth
from moorage_client.errors import (
    AnswerTimeoutError,
    NoNativeApiError,
    UnreachableError,
    UnusableAnswerError,
    problem,
)

PROBLEM_TYPE = "application/problem+json"
LINES_TYPE = "application/x-ndjson"

STREAM_SECONDS = 45.0
"""Longest silence of a stream: three times as long as a service is silent."""

FIRST_PAUSE_SECONDS = 0.2
"""Pause after the first failure if the service names none. It doubles."""

LONGEST_PAUSE_SECONDS = 30.0
"""Longest pause between two attempts, whatever the service names."""

KEY_HEADER = "Idempotency-Key"
LONGEST_KEY = 255

OK = 200
CREATED = 201
UNAUTHORIZED = 401
NOT_FOUND = 404
UNAVAILABLE = 503


@dataclass(frozen=True)
class Place:
    """Where a service is. ``prefix`` is the path that it is mounted under."""

    secure: bool
    host: str
    port: int | None
    prefix: str

    @classmethod
    def of(cls, url: str) -> Place:
        """From a URL. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a service, such as https://host:8778/placement")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("the URL of a service has no query, no fragment and no user")
        return cls(parts.scheme == "https", parts.hostname, parts.port, parts.path.rstrip("/"))


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    def pause(self) -> float | None:
        """Seconds that ``Retry-After`` names, None without a usable one."""
        text = (self.headers.get("Retry-After") or "").strip()
        if text.isascii() and text.isdecimal():
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())

    def json(self) -> Any:
        """The body. Raises ValueError."""
        return json.loads(self.content)


class Stream:
    """The lines of an answer that goes on, each as the JSON that it is. Another thread may close it.

    Iterating raises ``UnreachableError`` when the stream breaks off. It stops after ``close``. Whether the
    service meant to end is what the last line says.
    """

    def __init__(
        self, transport: Transport, sock: socket.socket | None, response: http.client.HTTPResponse
    ) -> None:
        self._transport = transport
        self._sock = sock
        self._response = response
        self._is_closed = False
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._reading:
            line = None if self._is_closed else self._line()
            if line is None or self._is_closed:
                self._release()
                raise StopIteration
        try:
            return json.loads(line)
        except ValueError as error:
            self.close()
            raise UnusableAnswerError(f"{self._transport.url} streams what is no JSON.", OK) from error

    def _line(self) -> bytes | None:
        try:
            with self._transport.translated(STREAM_SECONDS):
                line = self._response.readline()
            # A line without its end is part of one: the connection broke off within it.
            if not line.endswith(b"\n"):
                raise UnreachableError(f"{self._transport.url} broke a stream off.")
        except UnreachableError:
            self._release()
            if self._is_closed:
                return None
            raise
        return line

    def close(self) -> None:
        """End it. A thread that waits for the next line stops waiting."""
        self._is_closed = True
        if self._sock is not None:
            with suppress(OSError):
                # Not the method of a TLS socket, which takes its state away from the thread that reads.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        # A thread that reads at this moment releases it instead.
        if self._reading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._reading.release()

    def _release(self) -> None:
        self._response.close()
        if self._sock is not None:
            self._sock.close()


class Transport:
    """Sends requests to one service. Threads may share it: each request has a connection to itself."""

    def __init__(
        self,
        url: str,
        auth: Auth,
        *,
        timeout: float,
        attempts: int,
        tls: ssl.SSLContext | None,
        user_agent: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._place = Place.of(url)
        self._auth = auth
        self._timeout = timeout
        self._attempts = attempts
        self._tls = tls or (ssl.create_default_context() if self._place.secure else None)
        self._user_agent = user_agent
        self._sleep = sleep
        self._idle: deque[http.client.HTTPConnection] = deque()

    def hasty(self, timeout: float) -> Transport:
        """Another transport to the same service, which sends each request once. ``timeout`` is in s."""
        return Transport(
            self.url,
            self._auth,
            timeout=timeout,
            attempts=1,
            tls=self._tls,
            user_agent=self._user_agent,
            sleep=self._sleep,
        )

    def close(self) -> None:
        """Close all connections that no request uses."""
        while self._idle:
            self._idle.pop().close()

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Any:
        """The JSON of a successful answer. ``key`` is the idempotency key that every write has.

        Raises UnreachableError, UnusableAnswerError, and ProblemError for a refusal.
        """
        reply = self._until_answered(method, path, body, key)
        if reply.status == UNAUTHORIZED and self._auth.renew():
            reply = self._until_answered(method, path, body, key)
        return self._read(reply)

    def _until_answered(
        self, method: str, path: str, body: Mapping[str, Any] | None, key: str | None
    ) -> Reply:
        content = None if body is None else json.dumps(body).encode()
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            pause = None
            try:
                reply = self._once(method, path, content, key)
            except UnreachableError as error:
                if last or (key is None and isinstance(error, AnswerTimeoutError)):
                    raise
            else:
                if reply.status != UNAVAILABLE or last:
                    return reply
                pause = reply.pause()
            if pause is None:
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311
            self._sleep(min(pause, LONGEST_PAUSE_SECONDS))
        raise AssertionError("the last attempt has answered or raised")

    def _once(self, method: str, path: str, content: bytes | None, key: str | None) -> Reply:
        headers = {"Accept": f"application/json, {PROBLEM_TYPE}", "User-Agent": self._user_agent}
        headers.update(self._auth.headers())
        if content is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers[KEY_HEADER] = quoted(key)
        try:
            connection, kept = self._idle.pop(), True
        except IndexError:
            connection, kept = self._new(), False
        try:
            return self._over(connection, method, path, content, headers)
        except AnswerTimeoutError:
            raise
        except UnreachableError:
            if not kept:
                raise
        # The service closes idle connections, which only the next request sees. The others are as old.
        self.close()
        return self._over(self._new(), method, path, content, headers)

    def _over(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply:
        done = False
        try:
            with self.translated(self._timeout):
                connection.request(method, self._place.prefix + path, content, dict(headers))
                response = connection.getresponse()
                reply = Reply(response.status, response.headers, response.read())
                done = not response.will_close
        finally:
            if not done:
                connection.close()
        self._idle.append(connection)
        return reply

    def stream(self, path: str) -> Stream:
        """An answer that goes on, over a connection of its own. Nothing is sent again but for a new token.

        Raises as ``ask`` does.
        """
        stream, reply = self._streamed(path)
        if stream is None and reply.status == UNAUTHORIZED and self._auth.renew():
            stream, reply = self._streamed(path)
        if stream is None:
            self._read(reply)
            raise UnusableAnswerError(f"What answers at {self.url} does not stream.", reply.status)
        return stream

    def _streamed(self, path: str) -> tuple[Stream | None, Reply]:
        headers = {"Accept": f"{LINES_TYPE}, {PROBLEM_TYPE}", "User-Agent": self._user_agent}
        headers.update(self._auth.headers())
        connection = self._new()
        stream = None
        try:
            with self.translated(self._timeout):
                connection.connect()
                sock = connection.sock
                connection.request("GET", self._place.prefix + path, None, headers)
                response = connection.getresponse()
                if response.status == OK and _media_type(response.headers) == LINES_TYPE:
                    sock.settimeout(STREAM_SECONDS)
                    stream = Stream(self, sock, response)
                    return stream, Reply(response.status, response.headers, b"")
                return None, Reply(response.status, response.headers, response.read())
        finally:
            if stream is None:
                connection.close()

    @contextmanager
    def translated(self, seconds: float) -> Iterator[None]:
        """Errors of connections as those of this client. ``seconds``: the patience that a timeout tells of.

        Raises UnreachableError, AnswerTimeoutError, UnusableAnswerError.
        """
        try:
            yield
        except socket.timeout as error:
            raise AnswerTimeoutError(f"{self.url} has not answered within {seconds:g} seconds.") from error
        except ssl.SSLCertVerificationError as error:
            raise UnusableAnswerError(
                f"The certificate of {self.url} is not trusted: {error.verify_message}. "
                "ca_file names the authority that signed it.",
                0,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(
                f"Nothing answers at {self.url}: {str(error) or type(error).__name__}"
            ) from error

    def _new(self) -> http.client.HTTPConnection:
        place = self._place
        if place.secure:
            return http.client.HTTPSConnection(
                place.host, place.port, timeout=self._timeout, context=self._tls
            )
        return http.client.HTTPConnection(place.host, place.port, timeout=self._timeout)

    def _read(self, reply: Reply) -> Any:
        try:
            body = reply.json()
        except ValueError:
            body = None
        media_type = _media_type(reply.headers)
        if media_type == PROBLEM_TYPE and isinstance(body, dict):
            raise problem(reply.status, body)
        if reply.status in (OK, CREATED) and isinstance(body, dict):
            return body
        if reply.status == NOT_FOUND and isinstance(body, dict):
            raise NoNativeApiError(
                f"{self.url} answers, but has no native API (/moorage). It is OpenStack Placement, or a "
                "Moorage without this API. If the service is mounted under a path, the URL must have it.",
                reply.status,
            )
        raise UnusableAnswerError(
            f"What answers at {self.url} is no Moorage: status {reply.status}, {media_type or 'no type'}.",
            reply.status,
        )


def _media_type(headers: http.client.HTTPMessage) -> str:
    return (headers.get("Content-Type") or "").partition(";")[0].strip().lower()


def quoted(key: str) -> str:
    """An idempotency key as a string of structured fields (RFC 8941). Raises ValueError."""
    if not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise ValueError(f"an idempotency key has 1 to {LONGEST_KEY} visible characters of ASCII")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

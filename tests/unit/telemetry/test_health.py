"""Whether a process lives, and whether it can answer."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from moorage.api.front import Dispatcher
from moorage.model.errors import ConfigurationError, SchemaError, UnavailableError
from moorage.serve.lazy_application import LazyApplication
from moorage.telemetry import listener
from moorage.telemetry.health import Readiness, healthy, nothing
from moorage.telemetry.listen_address import address_of
from tests.servers.ports import free_port
from tests.unit.telemetry.calls import get


def inner(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("418 I'm a teapot", [])
    return [environ["REQUEST_METHOD"].encode()]


def front(check: Callable[[], int] = lambda: 3) -> Dispatcher:
    return Dispatcher(inner, {"/healthz": healthy, "/readyz": Readiness(check)})


@pytest.mark.parametrize("path", ["/", "/resource_providers", "/healthz/", "/readyz2", "/metrics"])
def test_all_other_paths_are_left_to_the_application(path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        told = get(front(), path, method=method)
        assert (told.status, told.body) == (418, method.encode())


def test_health_and_readiness_are_told_in_json() -> None:
    told = get(front(), "/healthz")
    assert (told.status, told.json) == (200, {"status": "ok"})
    told = get(front(), "/readyz")
    assert (told.status, told.json) == (200, {"ready": True, "reasons": [], "revision": 3})
    assert told.headers["Cache-Control"] == "no-store"
    head = get(front(), "/readyz", method="HEAD")
    assert (head.status, head.body, head.headers) == (200, b"", told.headers)
    told = get(front(), "/readyz", method="POST")
    assert (told.status, told.headers["Allow"]) == (405, "GET, HEAD")
    assert get(Dispatcher(nothing, {}), "/else").status == 404


@pytest.mark.parametrize("error", [SchemaError("run 'moorage db sync'"), UnavailableError("it is away")])
def test_what_is_missing_is_told_with_503(error: Exception) -> None:
    def check() -> int:
        raise error

    told = get(front(check), "/readyz")
    assert (told.status, told.json) == (503, {"ready": False, "reasons": [str(error)]})
    assert get(front(check), "/healthz").status == 200


def test_requests_that_come_together_share_one_look() -> None:
    looks: list[int] = []
    begun, may_end = threading.Event(), threading.Event()

    def check() -> int:
        looks.append(len(looks))
        begun.set()
        assert may_end.wait(60)
        return looks[-1]

    readiness = Readiness(check, patience=60)
    told: list[Any] = []
    threads = [
        threading.Thread(target=lambda: told.append(get(readiness, "/readyz").json["revision"]))
        for _ in range(5)
    ]
    honest = readiness._shared
    found: list[object] = []

    def shared() -> Any:
        found.append(honest())
        return found[-1]

    readiness._shared = shared  # type: ignore[method-assign]
    for thread in threads:
        thread.start()
    while len(found) < len(threads):
        assert begun.wait(60)
    may_end.set()
    for thread in threads:
        thread.join()
    assert told == [0] * len(threads)
    assert looks == [0]
    assert get(readiness, "/readyz").json["revision"] == 1


def test_a_database_that_does_not_answer_keeps_no_request_waiting() -> None:
    looks: list[int] = []
    may_end = threading.Event()

    def check() -> int:
        looks.append(len(looks))
        assert may_end.wait(60)
        return 7

    readiness = Readiness(check, patience=0.01)
    for _ in range(3):
        told = get(readiness, "/readyz")
        assert (told.status, told.json["reasons"]) == (
            503,
            ["the database has not answered within 0.01 seconds"],
        )
    assert looks == [0]
    may_end.set()
    while get(readiness, "/readyz").status != 200:
        pass


def test_a_mistake_in_the_look_is_no_matter_of_the_database() -> None:
    def check() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        get(Readiness(check), "/readyz")


def test_a_lazy_application_lives_before_it_is_ready_and_is_built_by_who_asks() -> None:
    may_go_on, built = threading.Event(), threading.Event()

    def build() -> Dispatcher:
        may_go_on.wait(30)
        built.set()
        return front()

    lazy = LazyApplication(build)
    assert get(lazy, "/healthz").json == {"status": "ok"}
    assert lazy._building is None
    for _ in range(2):
        told = get(lazy, "/readyz")
        assert (told.status, told.json) == (503, {"ready": False, "reasons": ["it is starting"]})
    may_go_on.set()
    assert built.wait(30)
    assert lazy._building is not None
    lazy._building.join(30)
    assert get(lazy, "/readyz").status == 200


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnavailableError("it is away"), str(UnavailableError("it is away"))),
        (RuntimeError("secret"), "it cannot start; its log says why"),
    ],
)
def test_a_lazy_application_that_cannot_be_built_says_why_and_tries_again(
    error: Exception, reason: str
) -> None:
    tries: list[int] = []

    def build() -> Dispatcher:
        tries.append(1)
        raise error

    lazy = LazyApplication(build)
    get(lazy, "/readyz")
    assert lazy._building is not None
    lazy._building.join(30)
    told = get(lazy, "/readyz")
    assert (told.status, told.json) == (503, {"ready": False, "reasons": [reason]})
    lazy._building.join(30)
    assert len(tries) == 2
    assert get(lazy, "/resource_providers").status == 503


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:9778", ("127.0.0.1", 9778)), ("[::1]:80", ("::1", 80)), (":9778", ("127.0.0.1", 9778))],
)
def test_an_address_is_read(text: str, found: tuple[str, int]) -> None:
    assert address_of(text) == found


@pytest.mark.parametrize("text", ["9778", "host", "host:", "host:x", "host:0", "host:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="metrics_listen"):
        address_of(text)


def fetched(host: str, port: int) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_of_its_own_is_served_and_cannot_be_had_twice(host: str) -> None:
    port = free_port()
    listener.serve_here(front(), host, port)
    assert fetched(host, port) == 200
    with pytest.raises(ConfigurationError, match=f"cannot listen on {host} port {port}"):
        listener.serve_here(front(), host, port)


def test_one_of_several_processes_serves_and_another_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    port = free_port()
    first = listener.listening(front(), "127.0.0.1", port)
    ended, waiting = threading.Event(), threading.Event()
    honest = listener.listening

    def watched(*arguments: Any) -> Any:
        try:
            return honest(*arguments)
        except OSError:
            waiting.set()
            raise

    monkeypatch.setattr(listener, "listening", watched)
    listener.serve_in_turn(front(), "127.0.0.1", port, ended)
    assert waiting.wait(30)
    first.server_close()
    for _ in range(1000):
        try:
            assert fetched("127.0.0.1", port) == 200
            break
        except ConnectionRefusedError:
            ended.wait(0.01)
    else:
        pytest.fail("nobody took over")
    ended.set()

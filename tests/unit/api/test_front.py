"""Each request reaches the application that its path belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from moorage.api.front import Dispatcher
from moorage.api.http.exchange import WsgiApplication
from tests.table import each
from tests.unit.telemetry.calls import get


def named(name: str) -> WsgiApplication:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [name.encode()]

    return application


FRONT = Dispatcher(
    named("rest"),
    {"/healthz": named("health"), "/boats/readme": named("readme")},
    {"/boats": named("boats"), "/boats/big": named("big"), "/docks": named("docks")},
)


@each(
    ("path", "name"),
    [
        ("/", "rest"),
        ("", "rest"),
        ("/healthz", "health"),
        ("/healthz/", "rest"),
        ("/boats", "boats"),
        ("/boats/", "boats"),
        ("/boats/1/oars", "boats"),
        ("/boats/bigger", "boats"),
        ("/boats/big", "big"),
        ("/boats/big/1", "big"),
        ("/boats/readme", "readme"),
        ("/boatsmen", "rest"),
        ("//boats", "rest"),
        ("/docks/boats", "docks"),
    ],
)
def test_a_path_belongs_to_the_application_of_its_longest_beginning(path: str, name: str) -> None:
    for method in ("GET", "HEAD"):
        told = get(FRONT, path, method=method)
        assert (told.status, told.body.decode()) == (200, "" if method == "HEAD" and name in READ else name)


READ = ("health", "readme")


def test_single_paths_can_only_be_read() -> None:
    assert get(FRONT, "/healthz", method="POST").status == 405
    assert get(FRONT, "/boats", method="POST").body == b"boats"


def test_without_further_applications_all_paths_are_left_to_the_one() -> None:
    assert get(Dispatcher(named("rest"), {}), "/boats").body == b"rest"


def test_a_path_with_all_methods_is_left_to_its_application() -> None:
    front = Dispatcher(named("rest"), {}, at={"/": named("door")})
    for method in ("GET", "POST", "HEAD"):
        assert get(front, "/", method=method).body == b"door"
    assert get(front, "/more").body == b"rest"

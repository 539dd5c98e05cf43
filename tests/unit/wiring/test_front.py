"""Both APIs of a process behind its one front."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from moorage.api.http.exchange import WsgiApplication
from moorage.wiring.config_files import CONFIG_FILE_VARIABLE
from moorage.wiring.settings import settings_of_process
from tests.unit.applications import built

BEHIND_A_PROXY = {"HTTP_X_FORWARDED_PREFIX": "/cloud", "HTTP_X_FORWARDED_PROTO": "https"}
FROM_A_BROWSER = {"HTTP_ORIGIN": "http://console.example.com"}


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WsgiApplication]:
    folder = tmp_path_factory.mktemp("front")
    path = Path(folder / "placement.conf")
    path.write_text(
        f"[api]\nauth_strategy = noauth2\n[placement_database]\nconnection = sqlite:///{folder}/p.sqlite\n"
        "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"
        "[cors]\nallowed_origin = http://console.example.com\n"
    )
    settings = settings_of_process({CONFIG_FILE_VARIABLE: str(path)})
    with built(replace(settings, sync_on_startup=True)) as application:
        yield application


@pytest.fixture(scope="module")
def without_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WsgiApplication]:
    folder = tmp_path_factory.mktemp("plain")
    path = Path(folder / "placement.conf")
    path.write_text(
        f"[api]\nauth_strategy = noauth2\n[placement_database]\nconnection = sqlite:///{folder}/p.sqlite\n"
        "[moorage]\nconsole = false\n"
    )
    settings = settings_of_process({CONFIG_FILE_VARIABLE: str(path)})
    with built(replace(settings, sync_on_startup=True)) as application:
        yield application


def get_as_browser(application: WsgiApplication, path: str) -> tuple[str, dict[str, str]]:
    """Status and headers for a browser in whose address bar the path was typed."""
    environ = falcon.testing.create_environ(path=path, headers={"accept": "text/html", "host": "localhost"})
    started = falcon.testing.StartResponseMock()
    b"".join(application(environ, started))
    return str(started.status)[:3], {name.lower(): text for name, text in started.headers or []}


def ask(application: WsgiApplication, path: str, **environ: str) -> tuple[dict[str, str], Any]:
    made = (
        falcon.testing.create_environ(path=path, headers={"x-auth-token": "admin", "host": "localhost"})
        | environ
    )
    started = falcon.testing.StartResponseMock()
    body = b"".join(application(made, started))
    return {
        **{name.lower(): text for name, text in started.headers or []},
        "status": str(started.status)[:3],
    }, json.loads(body)


def test_paths_of_the_native_api_and_only_these_are_answered_by_it(application: WsgiApplication) -> None:
    headers, body = ask(application, "/moorage")
    assert (headers["status"], body["versions"][0]["id"]) == ("200", "v1")
    headers, body = ask(application, "/moorage/v1/nothing")
    assert (headers["status"], headers["content-type"]) == ("404", "application/problem+json")
    for path in ("/moorages", "/nothing", "/moorage2/v1"):
        headers, body = ask(application, path)
        assert (headers["status"], body["errors"][0]["status"]) == ("404", 404)
        assert headers["openstack-api-version"] == "placement 1.0"


def test_both_are_under_the_prefix_of_a_proxy(application: WsgiApplication) -> None:
    assert ask(application, "/moorage", **BEHIND_A_PROXY)[1]["versions"][0]["href"] == "/cloud/moorage/v1"
    assert ask(application, "/openapi.json", **BEHIND_A_PROXY)[1]["servers"] == [{"url": "/cloud"}]


@pytest.mark.parametrize("path", ["/", "/moorage"])
def test_both_may_be_used_by_pages_of_allowed_origins(application: WsgiApplication, path: str) -> None:
    headers, _ = ask(application, path, **FROM_A_BROWSER)
    assert headers["access-control-allow-origin"] == "http://console.example.com"


def test_a_browser_that_opens_the_service_is_led_to_the_console(application: WsgiApplication) -> None:
    status, headers = get_as_browser(application, "/")
    assert (status, headers["location"]) == ("302", "moorage/console/")
    status, headers = get_as_browser(application, "/moorage/console/")
    assert (status, headers["content-type"]) == ("200", "text/html; charset=utf-8")
    assert ask(application, "/")[1]["versions"][0]["id"] == "v1.0"


def test_without_the_console_a_browser_gets_the_answer_of_the_wire(without_console: WsgiApplication) -> None:
    assert get_as_browser(without_console, "/")[0] == "200"
    assert get_as_browser(without_console, "/moorage/console/")[0] in {"401", "404"}

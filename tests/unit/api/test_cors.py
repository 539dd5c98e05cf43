"""Pages of other origins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import falcon.testing
import oslo_middleware.cors
import oslo_middleware.http_proxy_to_wsgi
import pytest
from oslo_config import cfg

from moorage.api.http import cors, proxies
from moorage.api.http.cors import GROUP, OPTIONS, with_cors
from moorage.api.placement import application
from tests.unit.api.fake import FakeService

ORIGIN = "https://dashboard.test"


def opened(**options: object) -> Any:
    """An application that is configured so."""
    conf = cfg.ConfigOpts()
    conf(args=[], default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTIONS, group=GROUP)
    for name, value in options.items():
        conf.set_override(name, value, group=GROUP)
    return with_cors(application.create(FakeService()), conf)


def ask(asked: Any, method: str, path: str = "/resource_providers", **headers: str) -> tuple[int, Any]:
    made = falcon.testing.create_environ(
        path=path, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    started = falcon.testing.StartResponseMock()
    list(asked(made, started))
    return int(str(started.status)[:3]), started.headers_dict


def test_without_an_origin_the_application_is_left_as_it_is() -> None:
    plain = application.create(FakeService())
    conf = cfg.ConfigOpts()
    conf(args=[], default_config_files=[], default_config_dirs=[])
    assert with_cors(plain, conf) is plain
    status, headers = ask(plain, "OPTIONS", "/", Origin=ORIGIN, Access_Control_Request_Method="GET")
    assert status == 405
    assert "access-control-allow-origin" not in headers


def test_a_browser_is_told_what_a_page_may_do_before_anybody_is_asked_who_it_is() -> None:
    asked = opened(allowed_origin=[ORIGIN], allow_headers=["x-auth-token"])
    status, headers = ask(
        asked,
        "OPTIONS",
        Origin=ORIGIN,
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="x-auth-token",
    )
    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-allow-headers"] == "x-auth-token"


@pytest.mark.parametrize(("token", "expected"), [({}, 401), ({"X_Auth_Token": "admin"}, 200)])
def test_a_page_may_read_answers_and_refusals(token: dict[str, str], expected: int) -> None:
    asked = opened(allowed_origin=[ORIGIN])
    status, headers = ask(asked, "GET", Origin=ORIGIN, **token)
    assert status == expected
    assert headers["access-control-allow-origin"] == ORIGIN
    assert "Origin" in headers["vary"]


def test_a_page_of_another_origin_is_told_nothing() -> None:
    _, headers = ask(opened(allowed_origin=[ORIGIN]), "GET", "/", Origin="https://elsewhere.test")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(cors.OPTIONS, oslo_middleware.cors.OPTS), (proxies.OPTIONS, oslo_middleware.http_proxy_to_wsgi.OPTS)],
    ids=["cors", "proxies"],
)
def test_options_are_those_of_the_library(ours: Sequence[cfg.Opt], theirs: Sequence[cfg.Opt]) -> None:
    found, wanted = (
        [(type(each), each.name, each.dest, each.default, each.required) for each in options]
        for options in (ours, theirs)
    )
    assert found == wanted

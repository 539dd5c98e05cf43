"""Behind a proxy: what the client thinks that it speaks to."""

from __future__ import annotations

import pytest
from oslo_config import cfg

from moorage.api.http.proxies import GROUP, behind_proxy
from moorage.api.placement import application
from tests.table import each
from tests.unit.api.fake import UUID, FakeService
from tests.unit.telemetry.calls import get

FORWARDED = {
    "HTTP_X_AUTH_TOKEN": "admin",
    "HTTP_HOST": "127.0.0.1:8778",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "cloud.example",
    "HTTP_X_FORWARDED_PREFIX": "/placement",
}


@pytest.mark.parametrize(
    ("trusted", "location"),
    [
        (True, "https://cloud.example/placement/traits/CUSTOM_A"),
        (False, "http://127.0.0.1:8778/traits/CUSTOM_A"),
    ],
)
def test_locations_are_what_the_proxy_says_only_if_it_is_trusted(trusted: bool, location: str) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    app = application.create(FakeService())
    behind = behind_proxy(app, conf)
    assert behind is app
    conf.set_override("enable_proxy_headers_parsing", trusted, group=GROUP)
    told = get(
        behind_proxy(app, conf),
        "/traits/CUSTOM_A",
        FORWARDED | {"HTTP_OPENSTACK_API_VERSION": "placement 1.6"},
        "PUT",
    )
    assert told.headers["location"] == location
    shown = get(behind_proxy(app, conf), f"/resource_providers/{UUID}", FORWARDED)
    prefix = "/placement" if trusted else ""
    assert shown.json["links"][0]["href"] == f"{prefix}/resource_providers/{UUID}"


@each(
    "sent, location",
    [
        ({"HTTP_X_FORWARDED_PROTO": "https, http"}, "https://cloud.example/placement"),
        ({"HTTP_X_FORWARDED_PROTO": "HTTPS"}, "https://cloud.example/placement"),
        ({"HTTP_X_FORWARDED_PROTO": "javascript"}, "http://cloud.example/placement"),
        ({"HTTP_X_FORWARDED_HOST": "a.example, b.example"}, "https://a.example/placement"),
        ({"HTTP_FORWARDED": 'proto=https;host="c.example:80", proto=http'}, "https://c.example:80/placement"),
        ({"HTTP_X_FORWARDED_HOST": "a/b"}, None),
    ],
)
def test_a_location_is_an_address_whatever_several_proxies_say(
    sent: dict[str, str], location: str | None
) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    app = application.create(FakeService())
    behind_proxy(app, conf)
    conf.set_override("enable_proxy_headers_parsing", True, group=GROUP)
    headers = FORWARDED | {"HTTP_OPENSTACK_API_VERSION": "placement 1.6"} | sent
    told = get(behind_proxy(app, conf), "/traits/CUSTOM_A", headers, "PUT")
    if location is None:
        assert told.status == 400
    else:
        assert told.headers["location"] == f"{location}/traits/CUSTOM_A"

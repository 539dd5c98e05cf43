"""What can be said of Keystone without one; tests/keystone has a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from oslo_config import cfg

from moorage.auth import keystone
from moorage.auth.identity import Identity, UnauthorisedError, UnreachableError
from moorage.model.errors import ConfigurationError

NOBODY_THERE = "http://127.0.0.1:1"

# Connections that were never made are closed when nobody looks.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def configured(**options: object) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf(args=[], project="placement", default_config_files=[], default_config_dirs=[])
    keystone.register_options(conf)
    if "auth_type" in options:
        options = {"auth_url": NOBODY_THERE, "username": "placement", "password": "secret", **options}
        conf.set_override("auth_type", options.pop("auth_type"), group=keystone.GROUP)
        keystone.register_options(conf)
    for name, value in options.items():
        conf.set_override(name, value, group=keystone.GROUP)
    return conf


@pytest.fixture
def plain() -> keystone.Keystone:
    """One that reaches nobody."""
    return keystone.Keystone(
        configured(auth_type="password", www_authenticate_uri=NOBODY_THERE, http_request_max_retries=0)
    )


def test_a_section_that_does_not_say_how_to_reach_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[keystone_authtoken\] does not say how to reach it"):
        keystone.Keystone(configured())


def test_an_unknown_plugin_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[keystone_authtoken\] auth_type: .*nonsense"):
        configured(auth_type="nonsense")


def test_a_plugin_without_its_credentials_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="auth_url"):
        keystone.Keystone(configured(auth_type="password", auth_url=None))


def test_what_the_middleware_refuses_is_told_with_its_section() -> None:
    with pytest.raises(ConfigurationError, match=r"\[keystone_authtoken\]: .*secret_key"):
        keystone.Keystone(configured(auth_type="password", memcache_security_strategy="ENCRYPT"))


def test_without_a_token_the_answer_says_where_to_get_one(plain: keystone.Keystone) -> None:
    with pytest.raises(UnauthorisedError) as refused:
        plain.identify(environ())
    assert refused.value.headers == {"www-authenticate": f'Keystone uri="{NOBODY_THERE}"'}
    assert b"requires authentication" in (refused.value.body or b"")


def test_nobody_is_let_in_while_keystone_cannot_be_asked(plain: keystone.Keystone) -> None:
    with pytest.raises(UnreachableError):
        plain.identify(environ(HTTP_X_AUTH_TOKEN="token"))


def test_an_error_of_the_client_below_is_no_error_of_the_service(
    plain: keystone.Keystone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from keystoneauth1.exceptions import EndpointNotFound

    def fail(*_: object) -> None:
        raise EndpointNotFound("no endpoint")

    monkeypatch.setattr(plain, "_middleware", fail)
    with pytest.raises(UnreachableError):
        plain.identify(environ(HTTP_X_AUTH_TOKEN="token"))
    assert "Keystone cannot be reached, or rejects the request: no endpoint" in caplog.text


def test_a_decision_left_to_the_service_is_a_refusal_in_its_own_words(
    plain: keystone.Keystone,
) -> None:
    late = keystone.Keystone(
        configured(auth_type="password", www_authenticate_uri=NOBODY_THERE, delay_auth_decision=True)
    )
    with pytest.raises(UnauthorisedError) as refused:
        late.identify(environ(HTTP_X_USER_ID="admin", HTTP_X_ROLES="admin"))
    assert refused.value.body is None


@pytest.mark.parametrize(("cache_time", "asked"), [(300, 1), (-1, 2)])
def test_the_middleware_is_asked_once_a_moment_where_it_may_cache(
    cache_time: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = keystone.Keystone(configured(auth_type="password", token_cache_time=cache_time))
    times = []

    def let_in(seen: dict[str, Any], start: Any) -> list[bytes]:
        times.append(seen["HTTP_X_AUTH_TOKEN"])
        seen["HTTP_X_USER_ID"] = "somebody"
        seen["HTTP_X_ROLES"] = "member, reader"
        seen["keystone.token_info"] = {"token": {"expires_at": "2999-01-01T00:00:00.000000Z"}}
        keystone._behind(seen, start)
        return []

    monkeypatch.setattr(guarded, "_middleware", let_in)
    before = environ(HTTP_X_AUTH_TOKEN="token")
    for _ in range(2):
        found = guarded.identify(before)
        assert (found.user_id, found.roles) == ("somebody", {"member", "reader"})
    assert times == ["token"] * asked
    assert "HTTP_X_USER_ID" not in before
    guarded.identify({**before, "HTTP_X_SERVICE_TOKEN": "of a service"})
    assert len(times) == asked + 1


def test_every_header_of_the_middleware_finds_its_place() -> None:
    found = keystone.identity_of(
        {
            "HTTP_X_USER_ID": "u",
            "HTTP_X_PROJECT_ID": "p",
            "HTTP_X_ROLES": "admin,,member",
            "HTTP_OPENSTACK_SYSTEM_SCOPE": "all",
            "HTTP_X_DOMAIN_ID": "d",
            "HTTP_X_USER_DOMAIN_ID": "ud",
            "HTTP_X_PROJECT_DOMAIN_ID": "pd",
            "HTTP_X_IS_ADMIN_PROJECT": "False",
            "HTTP_X_SERVICE_USER_ID": "su",
            "HTTP_X_SERVICE_USER_DOMAIN_ID": "sud",
            "HTTP_X_SERVICE_PROJECT_ID": "sp",
            "HTTP_X_SERVICE_PROJECT_DOMAIN_ID": "spd",
            "HTTP_X_SERVICE_ROLES": "service",
        }
    )
    assert found == Identity(
        *("u", "p", frozenset({"admin", "member"}), "all", "d", "ud", "pd", False),
        *("su", "sud", "sp", "spd", frozenset({"service"})),
    )


def environ(**more: str) -> Mapping[str, Any]:
    from falcon.testing import create_environ

    return {**create_environ(path="/traits"), **more}

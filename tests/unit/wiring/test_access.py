"""Which way to authenticate a configuration gets."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from moorage.auth.keystone import Keystone
from moorage.auth.noauth import NoAuth
from moorage.auth.tokens import TokenAuth
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.wiring import access
from moorage.wiring.config_files import ConfigFiles
from moorage.wiring.options import read_options

KEYSTONE = """
[keystone_authtoken]
auth_type = password
auth_url = http://127.0.0.1:1
username = placement
password = secret
"""


@pytest.mark.parametrize(
    ("strategy", "kind"), [("noauth2", NoAuth), ("token", TokenAuth), ("keystone", Keystone)]
)
def test_every_strategy_has_its_way(strategy: str, kind: type, tmp_path: Path) -> None:
    path = tmp_path / "placement.conf"
    path.write_text(f"[api]\nauth_strategy = {strategy}\n{KEYSTONE}")
    conf = read_options(ConfigFiles((path,)), environment={})
    access.check_keystone(conf, {})
    assert access.strategy(conf) == strategy
    with closing(Store(StoreSettings(f"sqlite:///{tmp_path}/account.sqlite"))) as store:
        assert isinstance(access.build_authenticator(conf, store), kind)


def test_a_section_may_come_from_the_environment_alone() -> None:
    conf = read_options(environment={"OS_PLACEMENT_API__AUTH_STRATEGY": "keystone"})
    given = {
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__AUTH_TYPE": "password",
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__AUTH_URL": "http://127.0.0.1:1",
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__USERNAME": "placement",
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__PASSWORD": "pa$$word",
    }
    access.check_keystone(conf, given)
    assert conf.keystone_authtoken.auth_url == "http://127.0.0.1:1"

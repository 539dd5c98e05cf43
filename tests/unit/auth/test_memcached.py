"""``memcached_servers`` where the client for it is not there."""

from __future__ import annotations

import importlib.util
import logging

import pytest
from oslo_config import cfg

from moorage.auth.keystone import GROUP, do_without_memcached, register_options


def configured(servers: str | None) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    register_options(conf)
    conf.set_override("memcached_servers", servers, group=GROUP)
    return conf


def test_without_its_client_each_process_remembers_tokens_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    conf = configured("localhost:11211")
    with caplog.at_level(logging.WARNING):
        do_without_memcached(conf)
    assert conf[GROUP].memcached_servers is None
    assert "python-memcached is not installed" in caplog.text


def test_with_its_client_or_without_servers_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    do_without_memcached(configured(None))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    conf = configured("localhost:11211")
    do_without_memcached(conf)
    assert conf[GROUP].memcached_servers == ["localhost:11211"]
    assert caplog.text == ""

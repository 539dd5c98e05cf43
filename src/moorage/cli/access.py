"""Who gets in: the way to authenticate and the policy that a configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from oslo_config import cfg

from moorage.auth.identity import Authenticator
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import OsloPolicy
from moorage.auth.tokens import TokenAuth
from moorage.cli import options
from moorage.cli.options import API_GROUP, value_of
from moorage.service.tokens import Tokens
from moorage.store.store import Store


def strategy(conf: cfg.ConfigOpts) -> str:
    """Who vouches for a token: ``options.KEYSTONE``, ``TOKEN`` or ``NOAUTH``."""
    chosen: str = value_of(conf, API_GROUP, "auth_strategy")
    return chosen


def check(conf: cfg.ConfigOpts, environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError if nobody could be let in, or it would not be known who may do what."""
    OsloPolicy(conf)
    if strategy(conf) == options.KEYSTONE:
        _keystone(conf, environment)


def build_authenticator(conf: cfg.ConfigOpts, store: Store) -> Authenticator:
    """The way to authenticate for one process. Raises ConfigurationError."""
    match strategy(conf):
        case options.KEYSTONE:
            return _keystone(conf, os.environ)
        case options.TOKEN:
            return TokenAuth(Tokens(store).find)
        case _:
            return NoAuth()


def _keystone(conf: cfg.ConfigOpts, environment: Mapping[str, str]) -> Authenticator:
    # Imported where it is wanted: it takes as long as all the rest.
    from moorage.auth import keystone

    # Twice: the environment may name the plugin, and then say what it brings.
    for _ in range(2):
        keystone.register_options(conf)
        options.override_from(conf, keystone.GROUP, environment)
    return keystone.Keystone(conf)

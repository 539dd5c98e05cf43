"""Access: the authenticator and the policy that a configuration selects."""

from __future__ import annotations

import os
from collections.abc import Mapping

from oslo_config import cfg

from moorage.auth.identity import Authenticator
from moorage.auth.noauth import NoAuth, OwnHosts
from moorage.auth.tokens import TokenAuth
from moorage.service.tokens import Tokens
from moorage.store.store import Store
from moorage.wiring import options
from moorage.wiring.options import API_GROUP, MOORAGE_GROUP, value_of
from moorage.wiring.policy import policy_of


def strategy(conf: cfg.ConfigOpts) -> str:
    """The configured way to validate tokens: ``options.KEYSTONE``, ``TOKEN`` or ``NOAUTH``."""
    chosen: str = value_of(conf, API_GROUP, "auth_strategy")
    return chosen


def check_policy(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError if the policy cannot be read."""
    policy_of(conf)


def check_keystone(conf: cfg.ConfigOpts, environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError if no token could be validated."""
    if strategy(conf) == options.KEYSTONE:
        _keystone(conf, environment)


def build_authenticator(conf: cfg.ConfigOpts, store: Store) -> Authenticator:
    """The authenticator of one process. Raises ConfigurationError."""
    match strategy(conf):
        case options.KEYSTONE:
            return _keystone(conf, os.environ)
        case options.TOKEN:
            return TokenAuth(Tokens(store).find)
        case _:
            return NoAuth(OwnHosts(value_of(conf, MOORAGE_GROUP, "noauth_hosts")))


def _keystone(conf: cfg.ConfigOpts, environment: Mapping[str, str]) -> Authenticator:
    # Imported only when needed: this import takes as long as all others together.
    from moorage.auth import keystone

    # Twice: the environment may name the plugin, and then set the options that the plugin adds.
    for _ in range(2):
        keystone.register_options(conf)
        options.override_from(conf, keystone.GROUP, environment)
    return keystone.Keystone(conf)

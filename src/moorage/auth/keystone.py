"""Authentication by Keystone, through keystonemiddleware as in every service of a cloud.

Source: ``[keystone_authtoken]`` of placement.conf, and what auth_token adds to a request.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from keystoneauth1 import loading
from keystoneauth1.exceptions import ClientException
from keystonemiddleware import auth_token
from keystonemiddleware.opts import list_auth_token_opts
from oslo_config import cfg

from moorage.auth.identity import Identity, UnauthorisedError, UnreachableError
from moorage.auth.token_memory import TokenMemory
from moorage.model.errors import ConfigurationError

LOG: Final = logging.getLogger(__name__)

GROUP: Final = "keystone_authtoken"

_KNOWN: Final = "moorage.known"
"""Set in the environment of a request whose token is good."""

_FACTS: Final = "keystone.token_info"
"""Key under which the middleware puts Keystone's facts about the token."""

_UNREACHABLE: Final = "503"


class Keystone:
    """Validates a request's token at Keystone, or in the cache that the configuration names."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """``conf`` has the options of ``register_options``. Keystone is not asked yet.

        Raises ConfigurationError for a section that cannot work.
        """
        if not conf[conf[GROUP].auth_section or GROUP].auth_type:
            raise ConfigurationError(
                f"[api] auth_strategy is keystone, but [{GROUP}] does not say how to reach it: set "
                "auth_type, auth_url and the credentials of a service user there, as for OpenStack Placement."
            )
        do_without_memcached(conf)
        try:
            self._middleware: _Application = auth_token.AuthProtocol(_behind, {"oslo_config_config": conf})
        except (ClientException, auth_token.ConfigurationError, cfg.Error, ValueError) as error:
            raise ConfigurationError(f"[{GROUP}]: {' '.join(str(error).split())}") from error
        self._caches = conf[GROUP].token_cache_time > 0
        self._memory = TokenMemory()

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        """See ``Authenticator``. Raises UnauthorisedError, UnreachableError."""
        token = None if "HTTP_X_SERVICE_TOKEN" in environ else environ.get("HTTP_X_AUTH_TOKEN")
        if token is not None and (remembered := self._memory.recall(token)) is not None:
            return remembered
        # The middleware writes the identity into the headers: into a copy, since other code reads them too.
        seen = dict(environ)
        answer = _Answer()
        try:
            body = b"".join(self._middleware(seen, answer.start))
        except ClientException as error:
            LOG.error("Keystone cannot be reached, or rejects the request: %s", error)
            raise UnreachableError from error
        if seen.get(_KNOWN):
            identity = identity_of(seen)
            if token is not None and self._caches:
                self._memory.remember(token, identity, seen[_FACTS].get("token", {}))
            return identity
        if answer.status.startswith(_UNREACHABLE):
            raise UnreachableError
        headers = {name: value for name, value in answer.headers.items() if name == "www-authenticate"}
        raise UnauthorisedError(headers, body if answer.is_json else None)


def register_options(conf: cfg.ConfigOpts) -> None:
    """Make ``[keystone_authtoken]`` known to ``conf``, with what the plugin of its ``auth_type`` reads.

    Raises ConfigurationError if there is no such plugin.
    """
    for group, options in list_auth_token_opts():
        conf.register_opts(options, group=group)
    section = conf[GROUP].auth_section or GROUP
    loading.register_auth_conf_options(conf, section)
    if conf[section].auth_type:
        try:
            plugin: Any = loading.get_plugin_loader(conf[section].auth_type)
        except ClientException as error:
            raise ConfigurationError(f"[{section}] auth_type: {error}") from error
        conf.register_opts(loading.get_auth_plugin_conf_options(plugin), group=section)


def known_options(conf: cfg.ConfigOpts) -> dict[str, list[cfg.Opt]]:
    """The options that ``register_options`` makes known, by section. Raises ConfigurationError."""
    register_options(conf)
    found = {group: list(options) for group, options in list_auth_token_opts()}
    section = conf[GROUP].auth_section or GROUP
    found.setdefault(section, []).extend(loading.get_auth_common_conf_options())
    if conf[section].auth_type:
        plugin: Any = loading.get_plugin_loader(conf[section].auth_type)
        found[section] += loading.get_auth_plugin_conf_options(plugin)
    return found


def do_without_memcached(conf: cfg.ConfigOpts) -> None:
    """Remember tokens in each process where the client for ``memcached_servers`` is not installed.

    Without the client the middleware fails at every request. The middleware does not depend on it, so a
    deployment of Placement has it from elsewhere.
    """
    if conf[GROUP].memcached_servers and importlib.util.find_spec("memcache") is None:
        LOG.warning(
            "[%s] memcached_servers has no effect: python-memcached is not installed. Each process "
            "keeps tokens in its own memory.",
            GROUP,
        )
        conf.set_override("memcached_servers", None, group=GROUP)


def identity_of(environ: Mapping[str, Any]) -> Identity:
    """The identity, from the headers that the middleware has set. Source: oslo.context."""

    def header(name: str) -> str | None:
        value: str | None = environ.get(f"HTTP_{name}")
        return value

    return Identity(
        user_id=header("X_USER_ID") or "",
        project_id=header("X_PROJECT_ID"),
        roles=_names(header("X_ROLES")),
        system_scope=header("OPENSTACK_SYSTEM_SCOPE"),
        domain_id=header("X_DOMAIN_ID"),
        user_domain_id=header("X_USER_DOMAIN_ID"),
        project_domain_id=header("X_PROJECT_DOMAIN_ID"),
        is_admin_project=(header("X_IS_ADMIN_PROJECT") or "true").lower() == "true",
        service_user_id=header("X_SERVICE_USER_ID"),
        service_user_domain_id=header("X_SERVICE_USER_DOMAIN_ID"),
        service_project_id=header("X_SERVICE_PROJECT_ID"),
        service_project_domain_id=header("X_SERVICE_PROJECT_DOMAIN_ID"),
        service_roles=_names(header("X_SERVICE_ROLES")),
    )


def _names(header: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (header or "").split(",") if name.strip())


class _Answer:
    """Receives an answer of the middleware that replaces the service's."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: dict[str, str] = {}

    def start(self, status: str, headers: Iterable[tuple[str, str]], _failure: object = None) -> None:
        """See PEP 3333."""
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def is_json(self) -> bool:
        """Whether the answer has a JSON body for the client."""
        return self.headers.get("content-type", "").startswith("application/json")


_Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _behind(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """The application behind the middleware. With delay_auth_decision every request gets here."""
    if environ.get("HTTP_X_USER_ID"):
        environ[_KNOWN] = True
        start("204 No Content", [])
    else:
        start("401 Unauthorized", [("Content-Length", "0")])
    return []

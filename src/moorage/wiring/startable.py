"""Finds all reasons why a service cannot start with a given configuration."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from oslo_config import cfg

from moorage.model.errors import ConfigurationError
from moorage.store.urls import check_url, left_out, with_parameters
from moorage.telemetry.listen_address import address_of
from moorage.wiring import access, options
from moorage.wiring.both_names import clash
from moorage.wiring.kept_options import DEFAULT_GROUP
from moorage.wiring.log_files import silence
from moorage.wiring.options import (
    DATABASE_GROUP,
    MOORAGE_GROUP,
    POLICY_GROUP,
    is_set,
    value_of,
)
from moorage.wiring.profiles import profiles_from
from moorage.wiring.unknown_options import names_of
from moorage.wiring.watchers import watchers_from

KEYSTONE_GROUP: Final = "keystone_authtoken"

Check = Callable[[cfg.ConfigOpts, Mapping[str, str]], None]


def problems(conf: cfg.ConfigOpts, environment: Mapping[str, str]) -> list[str]:
    """Why a service cannot start; empty if no reason is known. The database is not contacted."""
    found = []
    for check in CHECKS:
        try:
            check(conf, environment)
        except ConfigurationError as error:
            found.append(str(error))
    return found


def remarks(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Remarks for the operator that do not prevent a start."""
    url = _url(conf)
    for name in left_out(url) if url else ():
        yield (
            f"[{DATABASE_GROUP}] connection: plugin={name} is ignored: no installed package "
            "provides it, and it only counts."
        )
    file = value_of(conf, DEFAULT_GROUP, "log_config_append")
    if file:
        silenced = silence(Path(file))
        if silenced:
            yield silenced
    policy = value_of(conf, POLICY_GROUP, "policy_file")
    if is_set(conf, POLICY_GROUP, "policy_file") and conf.find_file(policy) is None:
        yield f"[{POLICY_GROUP}] policy_file: {policy} does not exist; the default rules apply."


def known_names(conf: cfg.ConfigOpts) -> dict[str, frozenset[str]]:
    """Names of all options in use, by section; empty for a section that only another configuration uses."""
    names = names_of(options.known())
    if access.strategy(conf) != options.KEYSTONE:
        return {**names, KEYSTONE_GROUP: frozenset()}
    # Imported only when needed: this import takes as long as all others together.
    from moorage.auth import keystone

    return {**names, **names_of(keystone.known_options(conf))}


def _url(conf: cfg.ConfigOpts) -> str:
    url = value_of(conf, DATABASE_GROUP, "connection") or ""
    return url and with_parameters(url, value_of(conf, DATABASE_GROUP, "connection_parameters"))


def _names(_conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    wrong = clash()
    if wrong:
        raise ConfigurationError(wrong)


def _database(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    url = _url(conf)
    if url:
        try:
            check_url(url)
        except ConfigurationError as error:
            raise ConfigurationError(f"[{DATABASE_GROUP}] connection: {error}") from error


def _journal(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    if value_of(conf, DEFAULT_GROUP, "use_journal") and importlib.util.find_spec("systemd") is None:
        raise ConfigurationError(
            f"[{DEFAULT_GROUP}] use_journal needs the Python bindings of systemd: pip install systemd-python "
            "(Debian, Ubuntu: python3-systemd)."
        )


def _log_file(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    named = value_of(conf, DEFAULT_GROUP, "log_file")
    folder = value_of(conf, DEFAULT_GROUP, "log_dir")
    if value_of(conf, DEFAULT_GROUP, "log_config_append") or not (named or folder):
        return
    path = Path(folder or "") / (named or "moorage.log")
    place = path if path.exists() else path.parent
    if path.is_dir() or not os.access(place, os.W_OK):
        what = "log_file" if named else "log_dir"
        raise ConfigurationError(f"[{DEFAULT_GROUP}] {what}: {path} cannot be written to.")


def _logging_file(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    file = value_of(conf, DEFAULT_GROUP, "log_config_append")
    if file:
        silence(Path(file))


def _metrics(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    listen = value_of(conf, MOORAGE_GROUP, "metrics_listen")
    if listen:
        address_of(listen)


def _watchers(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    watchers_from(lambda name: value_of(conf, MOORAGE_GROUP, name))


def _profiles(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    try:
        profiles_from(
            value_of(conf, MOORAGE_GROUP, "profiles_file"),
            value_of(conf, MOORAGE_GROUP, "candidate_order") or None,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"[{MOORAGE_GROUP}] profiles_file: {error}") from error


def _traces(conf: cfg.ConfigOpts, _environment: Mapping[str, str]) -> None:
    if value_of(conf, MOORAGE_GROUP, "traces") and importlib.util.find_spec("opentelemetry") is None:
        raise ConfigurationError("[moorage] traces needs OpenTelemetry: pip install 'moorage[otel]'.")


CHECKS: Final[tuple[Check, ...]] = (
    _names,
    _database,
    _journal,
    _log_file,
    _logging_file,
    _metrics,
    _watchers,
    _traces,
    _profiles,
    access.check_policy,
    access.check_keystone,
)

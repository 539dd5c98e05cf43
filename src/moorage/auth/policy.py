"""What who asks may do. The one question that the wire puts before every operation."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from oslo_config import cfg
from oslo_policy import opts, policy

from moorage.auth import rules
from moorage.auth.identity import Identity
from moorage.auth.policy_files import PolicyFiles, Stamp
from moorage.model.errors import ConfigurationError

LOG: Final = logging.getLogger(__name__)

GROUP: Final = "oslo_policy"
ENFORCE_SCOPE: Final = "enforce_scope"


def _options() -> list[cfg.Opt]:
    options = [option for _, of_group in opts.list_opts() for option in of_group]
    if not any(option.name == ENFORCE_SCOPE for option in options):
        options.append(
            cfg.BoolOpt(
                ENFORCE_SCOPE,
                default=True,
                help="Whether tokens of another scope than the rules are meant for are refused.",
            )
        )
    return options


OPTIONS: Final = _options()
"""Those of oslo.policy, and ``enforce_scope``, which its newer versions have no more."""

REMEMBERED_DECISIONS: Final = 4096
"""Decisions kept per process. A cloud has some ten services that ask, and 33 rules; the rest is
for readers, each of whom asks for a few projects."""

_LIBRARY: Final = policy.RuleCheck.__module__
"""Where oslo.policy's own checks are. They look at identity and target only."""


@dataclass(eq=False)
class ForbiddenError(Exception):
    """Who asks may not do it. ``message`` is for the client."""

    message: str


class Target(NamedTuple):
    """Whose things are asked about, as far as that is known before they are looked at."""

    project_id: str | None = None
    user_id: str | None = None


class Policy(Protocol):
    """Decides whether an operation may be carried out."""

    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        """Return if ``identity`` may do what ``rule`` names to ``target``, or to its own things.

        Raises ForbiddenError.
        """
        ...


class Decision(Enum):
    """What a policy says to one question."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    WRONG_SCOPE = "wrong scope"


Decide = Callable[[str, Identity, Target | None], Decision]


class RuleBook:
    """The rules as they were at one time: the defaults, and what the files put in their place.

    ``overridden`` are the names that the files have rules for, with their checks.
    """

    def __init__(self, enforcer: policy.Enforcer) -> None:
        self._enforcer = enforcer
        self.overridden: Mapping[str, str] = {
            name: rule.check_str for name, rule in enforcer.file_rules.items()
        }
        self._repeatable = frozenset(
            name for name in enforcer.registered_rules if self._is_repeatable(enforcer.rules[name], ())
        )
        self._remember: Decide = functools.lru_cache(REMEMBERED_DECISIONS)(self._decide)

    def decide(self, rule: str, identity: Identity, target: Target | None = None) -> Decision:
        """What the rules say of ``target``, or of who asks' own things.

        The same question is answered from memory where that is safe.
        """
        decide = self._remember if rule in self._repeatable else self._decide
        return decide(rule, identity, target)

    def check(self, rule: str) -> str:
        """What ``rule`` demands now, in the language of oslo.policy."""
        return str(self._enforcer.rules[rule])

    def _decide(self, rule: str, identity: Identity, target: Target | None) -> Decision:
        if target is None:
            target = Target(identity.project_id, identity.user_id)
        try:
            self._enforcer.authorize(rule, values_of(target), credentials(identity), do_raise=True)
        except policy.InvalidScope:
            return Decision.WRONG_SCOPE
        except policy.PolicyNotAuthorized:
            return Decision.FORBIDDEN
        return Decision.ALLOWED

    def _is_repeatable(self, check: Any, above: tuple[str, ...]) -> bool:
        """Whether the answer depends on identity and target alone: no server is asked.

        Raises ConfigurationError for a rule that refers to itself.
        """
        if type(check).__module__ != _LIBRARY:
            return False
        if isinstance(check, policy.RuleCheck):
            if check.match in above:
                raise ConfigurationError(f"The policy rule {check.match} refers to itself.")
            try:
                referred = self._enforcer.rules[check.match]
            except KeyError:
                return True
            return self._is_repeatable(referred, (*above, check.match))
        parts = [check.rule] if isinstance(check, policy.NotCheck) else getattr(check, "rules", [])
        # None is passed over: each may be the one that refers to itself.
        answers = [self._is_repeatable(part, above) for part in parts]
        return all(answers)


def credentials(identity: Identity) -> dict[str, Any]:
    """What checks see of who asks, under the names that policy files know.

    Source: oslo.context, ``RequestContext.to_policy_values``.
    """
    return {
        "user_id": identity.user_id,
        "user_domain_id": identity.user_domain_id,
        "system_scope": identity.system_scope,
        "domain_id": identity.domain_id,
        "project_id": identity.project_id,
        "project_domain_id": identity.project_domain_id,
        "roles": sorted(identity.roles),
        "is_admin_project": identity.is_admin_project,
        "service_user_id": identity.service_user_id,
        "service_user_domain_id": identity.service_user_domain_id,
        "service_project_id": identity.service_project_id,
        "service_project_domain_id": identity.service_project_domain_id,
        "service_roles": sorted(identity.service_roles),
    }


def values_of(target: Target) -> dict[str, str]:
    """What checks see of whose things are asked about. What is not known equals nothing."""
    values = {"project_id": target.project_id, "user_id": target.user_id}
    return {name: value for name, value in values.items() if value is not None}


class OsloPolicy:
    """The rules with an operator's overrides, which are read again when their files change.

    A changed, new or deleted file counts within ``LOOK_SECONDS``. If it cannot be understood, the rules
    that were in force remain so, and the log says why. Source: oslo.policy.
    """

    def __init__(self, conf: cfg.ConfigOpts, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError if the files cannot be read."""
        conf.register_opts(OPTIONS, group=GROUP)
        self._conf = conf
        self._files = PolicyFiles(conf, clock)
        self._lock = threading.Lock()
        self._stamps = self._files.stamps()
        self._book = read_book(conf, self._stamps)

    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        """See ``Policy``."""
        decision = self.book().decide(rule, identity, target)
        if decision is Decision.ALLOWED:
            return
        # wire: for a wrong scope the message is the bare name of the rule.
        bare = decision is Decision.WRONG_SCOPE
        raise ForbiddenError(rule if bare else f"Policy does not allow {rule} to be performed.")

    def book(self) -> RuleBook:
        """The rules that are in force now."""
        stamps = self._files.stamps()
        if stamps != self._stamps:
            with self._lock:
                if stamps != self._stamps:
                    self._read_again(stamps)
        return self._book

    def _read_again(self, stamps: tuple[Stamp, ...]) -> None:
        self._stamps = stamps
        try:
            self._book = read_book(self._conf, stamps)
        except ConfigurationError as error:
            LOG.error("The policy stays as it was. %s", error)
        else:
            names = ", ".join(path for path, *_ in stamps)
            LOG.warning("The policy was read again: %s", names or "no file is left, the defaults hold")


def read_book(conf: cfg.ConfigOpts, stamps: tuple[Stamp, ...]) -> RuleBook:
    """The rules as the files say now. Raises ConfigurationError."""
    for path, *_ in stamps:
        if Path(path).is_dir() or not os.access(path, os.R_OK):
            raise ConfigurationError(f"The policy file {path} cannot be read.")
    enforcer = policy.Enforcer(conf)
    # Every rule has a new default, and each would be warned of.
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(rules.defaults(scoped=conf[GROUP][ENFORCE_SCOPE]))
    try:
        enforcer.load_rules()
        book = RuleBook(enforcer)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} See {_named(stamps)}.") from error
    except Exception as error:
        raise ConfigurationError(f"{_named(stamps)} cannot be understood: {_one_line(error)}") from error
    # From here on it answers from memory; when the files change, it is replaced as a whole.
    enforcer.use_conf = False
    return book


def _named(stamps: tuple[Stamp, ...]) -> str:
    return "the policy file " + " or ".join(path for path, *_ in stamps)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def default_policy(*, enforce_new_defaults: bool = True) -> OsloPolicy:
    """The rules as they are without any file."""
    conf = cfg.ConfigOpts()
    conf(args=[], project="placement", default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTIONS, group=GROUP)
    conf.set_override("policy_file", str(Path(os.devnull)), group=GROUP)
    conf.set_override("policy_dirs", [], group=GROUP)
    conf.set_override("enforce_new_defaults", enforce_new_defaults, group=GROUP)
    return OsloPolicy(conf)

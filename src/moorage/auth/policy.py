"""Policy: whether an identity may carry out an operation. The wire asks it before every operation."""

from __future__ import annotations

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
from moorage.model.cache import MIB, Cache, bytes_of
from moorage.model.errors import ConfigurationError

LOOK_SECONDS: Final = 1.0
"""How long a look at the files holds. It takes a twelfth of the time of a small search, too much for every
request, and a change of policy need not count sooner."""

Stamp = tuple[str, int, int, int]
"""Path, time of change in nanoseconds, size in bytes, inode."""


class PolicyFiles:
    """The policy file and the files in the policy directories, as they are now."""

    def __init__(self, conf: cfg.ConfigOpts, clock: Callable[[], float] = time.monotonic) -> None:
        self._conf = conf
        self._clock = clock
        self._look_at = clock()
        self._seen: tuple[Stamp, ...] = ()

    def stamps(self) -> tuple[Stamp, ...]:
        """One stamp for each file, in the order in which they are read; equal if nothing changed.

        A file that vanished has no stamp. They are not older than ``LOOK_SECONDS``, and the time it
        takes another thread to look.
        """
        now = self._clock()
        if now >= self._look_at:
            # First, so that threads that come meanwhile do not look as well.
            self._look_at = now + LOOK_SECONDS
            self._seen = self._look()
        return self._seen

    def _look(self) -> tuple[Stamp, ...]:
        options = self._conf.oslo_policy
        stamps = _stamps(self._found([options.policy_file]))
        for directory in self._found(options.policy_dirs):
            stamps += _stamps(_listed(directory))
        return tuple(stamps)

    def _found(self, names: list[str]) -> list[str]:
        found = (self._conf.find_file(name) for name in names)
        return [path for path in found if path is not None]


def _listed(directory: str) -> list[str]:
    """Files of a directory in the order of their names, without hidden ones and folders."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.is_file() and entry.name[0] != ".")
    except OSError:
        return []


def _stamps(paths: list[str]) -> list[Stamp]:
    stamps = []
    for path in paths:
        try:
            found = Path(path).stat()
        except OSError:
            continue
        stamps.append((path, found.st_mtime_ns, found.st_size, found.st_ino))
    return stamps


LOG: Final = logging.getLogger(__name__)

GROUP: Final = "oslo_policy"
ENFORCE_SCOPE: Final = "enforce_scope"


OPTIONS: Final[list[cfg.Opt]] = [
    *(option for _, of_group in opts.list_opts() for option in of_group),
    cfg.BoolOpt(
        ENFORCE_SCOPE,
        default=True,
        help="Whether tokens of another scope than that of a rule are refused.",
    ),
]
"""Options of oslo.policy, and ``enforce_scope``, which it had up to version 5.

Those versions note in an option that it is deprecated, and then refuse the same option without that note: a
policy file could not be read a second time.
"""

REMEMBERED_BYTES: Final = 4 * MIB
"""Decisions kept per process, each some kilobytes. A cloud has some ten services that send requests, and
some fifty rules. The rest is for readers and members, each with a few projects."""

_LIBRARY: Final = policy.RuleCheck.__module__
"""Where oslo.policy's own checks are. They look at identity and target only."""


@dataclass(eq=False)
class ForbiddenError(Exception):
    """The policy does not allow the request. ``message`` is for the client."""

    message: str


class Target(NamedTuple):
    """The owner of what a request is about, as far as it is known before anything is read."""

    project_id: str | None = None
    user_id: str | None = None


class Policy(Protocol):
    """Decides whether an operation may be carried out."""

    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        """Return if ``identity`` may do what ``rule`` names to ``target``, or to its own things.

        Raises ForbiddenError.
        """
        ...


ANYTHING: Final = Target()
"""The target of a rule that is to hold whatever a request is about. It has no owner, so no rule about a
project holds for it."""


class Decision(Enum):
    """The answer of a policy to one question."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    WRONG_SCOPE = "wrong scope"


Question = tuple[str, Identity, Target | None]
"""May the identity do what a rule names, to the target?"""


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
        self._known: Cache[Question, Decision] = Cache(
            REMEMBERED_BYTES, lambda question, _decision: bytes_of(question)
        )

    def decide(self, rule: str, identity: Identity, target: Target | None = None) -> Decision:
        """The decision of the rules for ``target``, or for what the identity itself owns.

        The same question is answered from memory where that is safe.
        """
        if rule not in self._repeatable:
            return self._decide(rule, identity, target)
        return self._known.of((rule, identity, target), lambda: self._decide(rule, identity, target))

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
        # Goes through all parts: each may be the one that refers to its own rule.
        answers = [self._is_repeatable(part, above) for part in parts]
        return all(answers)


def credentials(identity: Identity) -> dict[str, Any]:
    """What checks see of an identity, under the names that policy files use.

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
    """What checks see of a target. An owner that is not known equals none."""
    values = {"project_id": target.project_id, "user_id": target.user_id}
    return {name: value for name, value in values.items() if value is not None}


class OsloPolicy:
    """The rules with an operator's overrides, which are read again when their files change.

    A changed, new or deleted file counts within ``LOOK_SECONDS``. If it cannot be understood, the rules
    that were in force remain so, and the log says why. Source: oslo.policy.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        clock: Callable[[], float] = time.monotonic,
        *,
        self_service: bool = False,
    ) -> None:
        """``self_service``: members of projects may help themselves by default.

        Raises ConfigurationError if the files cannot be read.
        """
        conf.register_opts(OPTIONS, group=GROUP)
        self._conf = conf
        self._self_service = self_service
        self._files = PolicyFiles(conf, clock)
        self._lock = threading.Lock()
        self._stamps = self._files.stamps()
        self._book = read_book(conf, self._stamps, self_service=self_service)

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
            self._book = read_book(self._conf, stamps, self_service=self._self_service)
        except ConfigurationError as error:
            LOG.error("The previous policy stays in force. %s", error)
        else:
            names = ", ".join(path for path, *_ in stamps)
            LOG.warning("The policy was read again: %s", names or "no file is left, so the defaults apply")


def read_book(conf: cfg.ConfigOpts, stamps: tuple[Stamp, ...], *, self_service: bool = False) -> RuleBook:
    """The rules of the present files. Raises ConfigurationError."""
    for path, *_ in stamps:
        if Path(path).is_dir() or not os.access(path, os.R_OK):
            raise ConfigurationError(f"The policy file {path} cannot be read.")
    enforcer = new_enforcer(conf, self_service=self_service)
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


def new_enforcer(conf: cfg.ConfigOpts, *, self_service: bool = False) -> policy.Enforcer:
    """oslo.policy with our rules, which has not read any file yet."""
    enforcer = policy.Enforcer(conf)
    # Every rule has a new default, and oslo.policy would warn about each.
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(rules.defaults(scoped=conf[GROUP][ENFORCE_SCOPE], self_service=self_service))
    return enforcer


def _named(stamps: tuple[Stamp, ...]) -> str:
    return "the policy file " + " or ".join(path for path, *_ in stamps)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def default_policy(*, enforce_new_defaults: bool = True, self_service: bool = False) -> OsloPolicy:
    """The default rules, without any file."""
    conf = cfg.ConfigOpts()
    conf(args=[], project="placement", default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTIONS, group=GROUP)
    conf.set_override("policy_file", str(Path(os.devnull)), group=GROUP)
    conf.set_override("policy_dirs", [], group=GROUP)
    conf.set_override("enforce_new_defaults", enforce_new_defaults, group=GROUP)
    return OsloPolicy(conf, self_service=self_service)

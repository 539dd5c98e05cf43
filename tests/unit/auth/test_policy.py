"""What the rules say, by default and with an operator's files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg
from oslo_policy import policy as oslo

from moorage.auth import policy
from moorage.auth.identity import Identity
from moorage.auth.policy import (
    GROUP,
    OPTIONS,
    Decision,
    ForbiddenError,
    OsloPolicy,
    Target,
    credentials,
    default_policy,
)
from moorage.auth.rules import DESCRIPTIONS, RESHAPE, TOTAL_USAGES
from moorage.model.errors import ConfigurationError
from tests.table import each

RULE = "placement:resource_providers:list"

Write = Callable[[str], None]


def identity(
    *roles: str, project: str | None = "mine", system: str | None = None, domain: str | None = None
) -> Identity:
    return Identity("somebody", project, frozenset(roles), system, domain)


def allowed(
    policy: OsloPolicy, who: Identity, rule: str, target: Target | None = None, message: str | None = None
) -> bool:
    try:
        policy.authorise(who, rule, target)
    except ForbiddenError as error:
        refused = error.message
    else:
        return True
    assert refused == (message or f"Policy does not allow {rule} to be performed.")
    return False


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    """Options whose policy file is policy.yaml, and whose directory is policy.d, in a folder."""
    conf = cfg.ConfigOpts()
    conf(args=[], project="placement", default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTIONS, group=GROUP)
    conf.set_override("policy_file", str(tmp_path / "policy.yaml"), group=GROUP)
    conf.set_override("policy_dirs", [str(tmp_path / "policy.d")], group=GROUP)
    return conf


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Call it with the new text of the policy file."""
    path = tmp_path / "policy.yaml"
    times = iter(range(1, 1000))

    def write(text: str) -> None:
        path.write_text(text)
        # Files that are written one right after the other may have the same time.
        os.utime(path, (next(times), next(times)))

    return write


class Clock:
    """Stands still unless a test says that so much time has passed that files are looked at again."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_long_enough(self) -> None:
        self.now += policy.LOOK_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@each("role", ["admin", "service", "Admin"])
@each("enforced", [True, False])
@each("rule", [name for name in DESCRIPTIONS if name != RESHAPE])
def test_admin_and_service_may_do_everything_but_reshape(rule: str, enforced: bool, role: str) -> None:
    policy = default_policy(enforce_new_defaults=enforced)
    assert allowed(policy, identity("member", role), rule, Target("another"))


@pytest.mark.parametrize(
    ("role", "enforced", "answer"),
    [
        ("service", True, True),
        ("service", False, True),
        ("admin", True, False),
        ("admin", False, True),
        ("reader", False, False),
    ],
)
def test_admin_may_reshape_only_while_the_new_defaults_are_not_enforced(
    role: str, enforced: bool, answer: bool
) -> None:
    assert allowed(default_policy(enforce_new_defaults=enforced), identity(role), RESHAPE) is answer


@each("rule", [name for name in DESCRIPTIONS if name != TOTAL_USAGES])
def test_nobody_else_may_do_anything_of_that(rule: str) -> None:
    assert not allowed(default_policy(), identity("member", "reader"), rule)


@each(
    ("roles", "asked", "answer"),
    [
        (("reader",), "mine", True),
        (("reader",), "another", False),
        (("reader",), "None", False),
        (("reader",), None, False),
        (("member",), "mine", False),
        ((), "mine", False),
    ],
)
@each("enforced", [True, False])
def test_readers_may_see_the_usages_of_their_own_project(
    roles: tuple[str, ...], asked: str | None, answer: bool, enforced: bool
) -> None:
    policy = default_policy(enforce_new_defaults=enforced)
    assert allowed(policy, identity(*roles), TOTAL_USAGES, Target(asked)) is answer


def test_a_reader_without_a_project_sees_no_usages() -> None:
    assert not allowed(default_policy(), identity("reader", project=None), TOTAL_USAGES, Target(None))


@pytest.mark.parametrize("scope", [{"system": "all"}, {"domain": "default"}])
def test_a_token_of_another_scope_may_do_nothing_and_is_told_the_bare_rule(scope: dict[str, str]) -> None:
    who = identity("admin", "service", project=None, **scope)
    assert not allowed(default_policy(), who, RULE, message=RULE)


def test_scopes_are_not_looked_at_if_an_operator_says_so(conf: cfg.ConfigOpts) -> None:
    conf.set_override("enforce_scope", False, group=GROUP)
    policy = OsloPolicy(conf)
    assert allowed(policy, identity("admin", project=None, system="all"), RULE)
    assert not allowed(policy, identity("reader", project=None, system="all"), RULE)


def test_an_override_counts_in_place_of_the_default(conf: cfg.ConfigOpts, write: Write) -> None:
    write(f'"{RULE}": "role:auditor"\n"admin_or_service_api": "role:boss"\n')
    policy = OsloPolicy(conf)
    assert allowed(policy, identity("auditor"), RULE)
    assert not allowed(policy, identity("admin"), RULE)
    assert allowed(policy, identity("boss"), "placement:traits:list")
    assert policy.book().overridden == {RULE: "role:auditor", "admin_or_service_api": "role:boss"}


def test_files_of_the_directory_count_more_than_the_file_and_each_other_in_order(
    conf: cfg.ConfigOpts, write: Write, clock: Clock, tmp_path: Path
) -> None:
    write(f'"{RULE}": "role:first"')
    folder = tmp_path / "policy.d"
    folder.mkdir()
    (folder / "b.yaml").write_text(f'"{RULE}": "role:third"')
    (folder / "a.yaml").write_text(f'"{RULE}": "role:second"')
    (folder / ".hidden.yaml").write_text(f'"{RULE}": "role:hidden"')
    (folder / "sub").mkdir()
    policy = OsloPolicy(conf, clock)
    assert allowed(policy, identity("third"), RULE)
    (folder / "b.yaml").unlink()
    clock.pass_long_enough()
    assert allowed(policy, identity("second"), RULE)
    assert not allowed(policy, identity("third"), RULE)
    (folder / "a.yaml").unlink()
    folder.joinpath("sub").rmdir()
    (folder / ".hidden.yaml").unlink()
    folder.rmdir()
    clock.pass_long_enough()
    assert allowed(policy, identity("first"), RULE)


def test_a_changed_file_counts_after_a_second(
    conf: cfg.ConfigOpts, write: Write, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(f'"{RULE}": "role:one"')
    policy = OsloPolicy(conf, clock)
    assert allowed(policy, identity("one"), RULE)
    write(f'"{RULE}": "role:two"')
    assert allowed(policy, identity("one"), RULE)
    clock.pass_long_enough()
    with caplog.at_level(logging.INFO):
        assert not allowed(policy, identity("one"), RULE)
    assert f"read again: {tmp_path / 'policy.yaml'}" in caplog.text
    assert allowed(policy, identity("two"), RULE)
    (tmp_path / "policy.yaml").unlink()
    clock.pass_long_enough()
    assert allowed(policy, identity("admin"), RULE)
    assert "so the defaults apply" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        '"a": [',
        "- a list",
        "just a word",
        f'"{RULE}": 7',
        f'"{RULE}": "rule:a"\n"a": "rule:b or role:x"\n"b": "not rule:a"',
    ],
)
def test_a_file_that_makes_no_sense_stops_the_start_and_is_passed_over_later(
    conf: cfg.ConfigOpts, write: Write, clock: Clock, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(f'"{RULE}": "role:one"')
    policy = OsloPolicy(conf, clock)
    write(text)
    clock.pass_long_enough()
    assert allowed(policy, identity("one"), RULE)
    assert "The previous policy stays in force." in caplog.text
    caplog.clear()
    clock.pass_long_enough()
    assert allowed(policy, identity("one"), RULE)
    assert not caplog.text
    with pytest.raises(ConfigurationError, match=r"policy\.yaml"):
        OsloPolicy(conf)
    write(f'"{RULE}": "role:two"')
    clock.pass_long_enough()
    assert allowed(policy, identity("two"), RULE)


def test_a_file_that_may_not_be_read_stops_the_start(
    conf: cfg.ConfigOpts, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        OsloPolicy(conf)


def test_a_folder_in_the_place_of_the_file_stops_the_start(conf: cfg.ConfigOpts, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        OsloPolicy(conf)


def test_a_check_that_makes_no_sense_allows_nobody(conf: cfg.ConfigOpts, write: Write) -> None:
    write(f'"{RULE}": "role:admin and and"')
    assert not allowed(OsloPolicy(conf), identity("admin"), RULE)


def test_a_reference_to_nothing_allows_nobody(conf: cfg.ConfigOpts, write: Write, clock: Clock) -> None:
    write(f'"{RULE}": "rule:nothing"')
    policy = OsloPolicy(conf, clock)
    assert not allowed(policy, identity("admin"), RULE)
    write(f'"{RULE}": "rule:nothing"\n"default": "role:fallback"')
    clock.pass_long_enough()
    assert allowed(policy, identity("fallback"), RULE)


def test_a_new_file_is_found_after_a_second(conf: cfg.ConfigOpts, write: Write, clock: Clock) -> None:
    files = policy.PolicyFiles(conf, clock)
    assert files.stamps() == ()
    write("")
    assert files.stamps() == ()
    clock.pass_long_enough()
    (stamp,) = files.stamps()
    assert stamp[0] == conf[GROUP].policy_file


def test_files_are_looked_at_once_a_second_however_many_ask(
    conf: cfg.ConfigOpts, write: Write, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f'"{RULE}": "role:one"')
    policy = OsloPolicy(conf, clock)
    looked: list[str] = []
    find_file = conf.find_file

    def counted(name: str) -> str | None:
        looked.append(name)
        return find_file(name)

    monkeypatch.setattr(conf, "find_file", counted)
    for _ in range(100):
        assert allowed(policy, identity("one"), RULE)
    assert looked == []
    clock.pass_long_enough()
    for _ in range(100):
        assert allowed(policy, identity("one"), RULE)
    assert looked == [conf[GROUP].policy_file, *conf[GROUP].policy_dirs]


def test_two_who_notice_a_change_at_once_read_the_files_once(
    conf: cfg.ConfigOpts, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = OsloPolicy(conf)
    book = policy.book()
    stamps = [("new", 1, 1, 1)]

    class Lock:
        """The other one is through with it when this one gets the lock."""

        def __enter__(self) -> None:
            policy._stamps = tuple(stamps)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(policy, "_lock", Lock())
    monkeypatch.setattr(policy._files, "stamps", lambda: tuple(stamps))
    assert policy.book() is book


def test_the_same_question_is_judged_once(conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count_judgements(monkeypatch)
    policy = OsloPolicy(conf)
    for _ in range(3):
        assert allowed(policy, identity("admin"), RULE)
        assert not allowed(policy, identity("reader"), RULE)
        assert allowed(policy, identity("reader"), TOTAL_USAGES, Target("mine"))
        assert not allowed(policy, identity("reader"), TOTAL_USAGES, Target("another"))
    assert asked == [RULE, RULE, TOTAL_USAGES, TOTAL_USAGES]


@pytest.mark.parametrize("check", ["http://127.0.0.1:1/%(project_id)s", "rule:far", "role:x or not rule:far"])
def test_a_server_is_asked_each_time(
    conf: cfg.ConfigOpts, write: Write, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    asked = count_judgements(monkeypatch, lambda: True)
    write(f'"{RULE}": "{check}"\n"far": "http://127.0.0.1:1/"')
    policy = OsloPolicy(conf)
    for _ in range(3):
        policy.authorise(identity("admin"), RULE)
    assert asked == [RULE] * 3


def count_judgements(monkeypatch: pytest.MonkeyPatch, instead: Callable[[], bool] | None = None) -> list[str]:
    """Rules that oslo.policy is asked from now on."""
    asked: list[str] = []
    judge: Callable[..., object] = oslo.Enforcer.authorize

    def counted(enforcer: oslo.Enforcer, rule: str, *rest: object, **options: object) -> object:
        asked.append(rule)
        return instead() if instead else judge(enforcer, rule, *rest, **options)

    monkeypatch.setattr(oslo.Enforcer, "authorize", counted)
    return asked


def test_decisions_that_were_remembered_are_forgotten_when_the_rules_change(
    conf: cfg.ConfigOpts, write: Write, clock: Clock
) -> None:
    write("")
    policy = OsloPolicy(conf, clock)
    assert policy.book().decide(RULE, identity("admin"), Target()) is Decision.ALLOWED
    write(f'"{RULE}": "!"')
    clock.pass_long_enough()
    assert policy.book().decide(RULE, identity("admin"), Target()) is Decision.FORBIDDEN


def test_checks_see_what_oslo_context_would_show_them() -> None:
    from oslo_context.context import RequestContext

    values = dict(RequestContext().to_policy_values())
    assert credentials(identity()).keys() == values.keys()


def test_checks_may_look_at_the_service_that_asks(conf: cfg.ConfigOpts, write: Write) -> None:
    write(f'"{RULE}": "service_roles:service and user_domain_id:default and is_admin_project:True"')
    policy = OsloPolicy(conf)
    who = Identity("u", "p", user_domain_id="default", service_roles=frozenset({"service"}))
    assert allowed(policy, who, RULE)
    assert not allowed(policy, Identity("u", "p", user_domain_id="default"), RULE)

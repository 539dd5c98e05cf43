"""placement.conf and the environment: what counts where several speak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moorage.model.errors import ConfigurationError
from moorage.wiring import options
from moorage.wiring.config_files import ConfigFiles
from moorage.wiring.options import read_options, value_of
from tests.table import each

WriteFile = Callable[[str], Path]


@pytest.fixture
def write_conf(tmp_path: Path) -> WriteFile:
    def write(text: str) -> Path:
        path = tmp_path / "placement.conf"
        path.write_text(text)
        return path

    return write


def test_defaults_are_those_of_placement() -> None:
    conf = read_options(environment={})
    assert value_of(conf, "api", "auth_strategy") == "keystone"
    assert value_of(conf, "placement_database", "connection") is None
    assert value_of(conf, "placement_database", "connection_recycle_time") == 3600
    assert value_of(conf, "placement_database", "sync_on_startup") is False
    assert value_of(conf, "placement", "max_allocation_candidates") == -1
    assert value_of(conf, "placement", "allocation_candidates_generation_strategy") == "depth-first"
    assert value_of(conf, "placement", "incomplete_consumer_user_id") == options.NO_INDIVIDUAL


def test_each_source_goes_before_the_next(write_conf: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ConfigFiles((write_conf("[placement_database]\nconnection = sqlite:///file\n"),))
    long_form = {"OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION": "sqlite:///long"}
    command_line = {("placement_database", "connection"): "sqlite:///command-line"}

    def connection(*arguments: object) -> object:
        return value_of(read_options(files, *arguments), "placement_database", "connection")  # type: ignore[arg-type]

    assert connection(None, {}) == "sqlite:///file"
    monkeypatch.setenv("OS_PLACEMENT_DATABASE__CONNECTION", "sqlite:///oslo")
    assert connection(None, {}) == "sqlite:///oslo"
    assert connection(None, long_form) == "sqlite:///long"
    assert connection(command_line, long_form) == "sqlite:///command-line"


def test_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PLACEMENT_API__AUTH_STRATEGY", "noauth2")
    monkeypatch.setenv("OS_PLACEMENT__MAX_ALLOCATION_CANDIDATES", "7")
    conf = read_options()
    assert value_of(conf, "api", "auth_strategy") == "noauth2"
    assert value_of(conf, "placement", "max_allocation_candidates") == 7


@each(
    "group_and_name", [(group, option.name) for group, known in options.OPTIONS.items() for option in known]
)
def test_every_option_can_be_set_through_the_long_variable(group_and_name: tuple[str, str]) -> None:
    group, name = group_and_name
    option = next(each for each in options.OPTIONS[group] if each.name == name)
    default = value_of(read_options(environment={}), group, name)
    text = {bool: str(not default), int: "17"}.get(type(default), "17")
    if name.endswith("_bytes"):
        text = "1025"
    if name == "auth_strategy":
        text = "noauth2"
    if name == "allocation_candidates_generation_strategy":
        text = "breadth-first"
    if name == "search_limit_action":
        text = "truncate"
    if name == "journal":
        text = "off"
    if name == "audit_heal":
        text = "nova:release"
    conf = read_options(environment={options.variable_name(group, name): text})
    given = value_of(conf, group, name)
    if isinstance(given, dict):
        given = ",".join(f"{key}:{value}" for key, value in given.items())
    assert (given if isinstance(default, list) else str(given)) == (
        [text] if isinstance(default, list) else text
    )
    assert options.is_set(conf, group, name)
    assert option.help


@pytest.mark.parametrize(
    ("group", "name", "text", "value"),
    [
        ("oslo_policy", "policy_file", "rules.yaml", "rules.yaml"),
        ("oslo_policy", "policy_dirs", "rules.d", ["rules.d"]),
        ("oslo_policy", "enforce_new_defaults", "false", False),
        ("oslo_policy", "enforce_scope", "false", False),
        ("cors", "allowed_origin", "https://a.test,https://b.test", ["https://a.test", "https://b.test"]),
        ("cors", "max_age", "60", 60),
    ],
)
def test_options_of_libraries_can_be_set_through_the_long_variable(
    group: str, name: str, text: str, value: object
) -> None:
    conf = read_options(environment={options.variable_name(group, name): text})
    assert value_of(conf, group, name) == value


def test_sections_and_options_of_others_are_tolerated(write_conf: WriteFile) -> None:
    path = write_conf(
        "[DEFAULT]\ndebug = true\nlog_file = x\n[cors]\nallowed_origin = *\n[oslo_policy]\npolicy_file = p\n"
        "[keystone_authtoken]\npassword = secret\n[placement_database]\nunheard_of = 1\n"
        "[workarounds]\noptimize_for_wide_provider_trees = true\n"
    )
    conf = read_options(ConfigFiles((path,)), environment={})
    assert value_of(conf, "workarounds", "optimize_for_wide_provider_trees")


def test_auth_strategy_in_its_old_section_counts(write_conf: WriteFile) -> None:
    conf = read_options(ConfigFiles((write_conf("[DEFAULT]\nauth_strategy = noauth2\n"),)), environment={})
    assert value_of(conf, "api", "auth_strategy") == "noauth2"
    assert options.is_set(conf, "api", "auth_strategy")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[placement_database]\nmax_retries = many", ["max_retries", "many", "placement.conf"]),
        ("[placement_database]\nsync_on_startup = perhaps", ["sync_on_startup", "perhaps"]),
        ("[api]\nauth_strategy = trust", ["auth_strategy", "trust"]),
        ("no section", ["cannot be read"]),
    ],
)
def test_value_of_a_wrong_type_in_the_file_is_named(
    write_conf: WriteFile, line: str, words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_options(ConfigFiles((write_conf(line + "\n"),)), environment={})
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)
    assert "LocationInfo" not in str(caught.value)


def test_value_of_a_wrong_type_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationError, match="OS_PLACEMENT_PLACEMENT__MAX_ALLOCATION_CANDIDATES"):
        read_options(environment={"OS_PLACEMENT_PLACEMENT__MAX_ALLOCATION_CANDIDATES": "few"})
    monkeypatch.setenv("OS_PLACEMENT__MAX_ALLOCATION_CANDIDATES", "few")
    with pytest.raises(ConfigurationError, match="OS_PLACEMENT__MAX_ALLOCATION_CANDIDATES"):
        read_options(environment={})


def test_dollar_in_a_url_of_the_command_line_is_no_reference() -> None:
    url = "postgresql+psycopg://me:pa$word$$@host/name"
    conf = read_options(overrides={("placement_database", "connection"): url}, environment={})
    assert value_of(conf, "placement_database", "connection") == url

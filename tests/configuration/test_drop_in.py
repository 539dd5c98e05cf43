"""What stands in placement.conf files is known here, by the reference's own tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from moorage.wiring import logs, options
from moorage.wiring.config_files import CONFIG_DIRECTORY_VARIABLE, ConfigFiles
from moorage.wiring.kept_options import DEFAULT_GROUP, REASONS
from moorage.wiring.settings import settings_of_process
from tests.table import each

DEVSTACK = Path(__file__).parent / "devstack.conf"

BUILT_IN = {"config_file", "config_dir", "config_source", "shell_completion"}
"""What oslo.config itself adds to every program."""

KNOWN = {
    (group, option.dest): option
    for table in (options.OPTIONS, options.LIBRARY_OPTIONS)
    for group, listed in table.items()
    for option in listed
}


def reference_options() -> dict[tuple[str, str], cfg.Opt]:
    """What the installed reference registers, by group and name."""
    from placement import conf as reference

    conf = cfg.ConfigOpts()
    reference.register_opts(conf)
    found = {(DEFAULT_GROUP, name): info["opt"] for name, info in conf._opts.items() if name not in BUILT_IN}
    for group, registered in conf._groups.items():
        found |= {(group, name): info["opt"] for name, info in registered._opts.items()}
    return found


REFERENCE = reference_options()


def test_the_reference_has_as_many_options_as_when_this_was_written() -> None:
    assert len(REFERENCE) >= 70
    assert ("placement", "max_allocation_candidates") in REFERENCE


@each("where", sorted(REFERENCE))
def test_every_option_of_the_reference_is_known_with_its_type_and_default(where: tuple[str, str]) -> None:
    ours, theirs = KNOWN[where], REFERENCE[where]
    assert type(ours) is type(theirs)
    assert ours.secret == theirs.secret
    if where != (DEFAULT_GROUP, "pybasedir"):  # theirs is the place of their source
        assert ours.default == theirs.default


@pytest.mark.parametrize("where", sorted(REASONS), ids=".".join)
def test_an_option_without_effect_says_why(where: tuple[str, str]) -> None:
    group, name = where
    option = KNOWN[where]
    assert option.help == f"Accepted, without effect: {REASONS[where]}."
    conf = options.read_options(environment={})
    assert options.ineffective(conf) == []
    value = {cfg.BoolOpt: "true", cfg.IntOpt: "3"}.get(type(option), "sqlite:///replica")
    conf = options.read_options(environment={options.variable_name(group, name): value})
    assert options.ineffective(conf) == [f"[{group}] {name} has no effect: {REASONS[where]}"]


def test_directories_of_a_file_can_be_referred_to(tmp_path: Path) -> None:
    path = tmp_path / "placement.conf"
    path.write_text(
        "[DEFAULT]\nstate_path = /srv\n[placement_database]\nconnection = sqlite:///$state_path/here.sqlite\n"
    )
    conf = options.read_options(ConfigFiles((path,)), environment={})
    assert options.value_of(conf, "placement_database", "connection") == "sqlite:////srv/here.sqlite"


def test_files_of_a_directory_count_in_the_order_of_their_names_after_the_file(tmp_path: Path) -> None:
    file, parts = tmp_path / "placement.conf", tmp_path / "parts"
    parts.mkdir()
    file.write_text("[placement]\nmax_allocation_candidates = 1\nrandomize_allocation_candidates = true\n")
    (parts / "10-first.conf").write_text("[placement]\nmax_allocation_candidates = 2\n")
    (parts / "20-second.conf").write_text("[placement]\nmax_allocation_candidates = 3\n")
    conf = options.read_options(ConfigFiles((file,), (parts,)), environment={})
    assert options.value_of(conf, "placement", "max_allocation_candidates") == 3
    assert options.value_of(conf, "placement", "randomize_allocation_candidates") is True


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    sql = logging.getLogger(logs.SQL_LOGGER).level
    yield root
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()
    for handler in before:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger(logs.SQL_LOGGER).setLevel(sql)
    logging.captureWarnings(False)


def test_logs_go_where_the_options_say(tmp_path: Path, root_logger: logging.Logger) -> None:
    file = tmp_path / "moorage.log"
    told = {
        "DEBUG": "true",
        "LOG_FILE": str(file),
        "USE_JSON": "false",
        "LOG_OPTIONS": "true",
    }
    environment = {f"OS_PLACEMENT_DEFAULT__{name}": value for name, value in told.items()}
    environment["OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION"] = "postgresql://user:hidden-word@host/name"
    conf = options.read_options(environment=environment)
    logs.set_up(conf, ["[a] b has no effect: c"], sql=100)
    logging.getLogger("moorage.somewhere").debug("a word")
    text = file.read_text()
    assert "DEBUG moorage.somewhere" in text
    assert "a word" in text
    assert "WARNING moorage.wiring.logs" in text
    assert "[a] b has no effect: c" in text
    assert "placement.max_allocation_candidates = -1" in text
    assert "hidden-word" not in text
    assert logging.getLogger(logs.SQL_LOGGER).getEffectiveLevel() == logging.DEBUG


@pytest.mark.parametrize(("sql", "level"), [(49, logging.WARNING), (50, logging.INFO)])
def test_statements_are_logged_without_their_results_from_50_on(
    sql: int, level: int, tmp_path: Path, root_logger: logging.Logger
) -> None:
    environment = {
        "OS_PLACEMENT_DEFAULT__LOG_FILE": str(tmp_path / "log"),
        "OS_PLACEMENT_DEFAULT__LOG_OPTIONS": "false",
    }
    conf = options.read_options(environment=environment)
    logs.set_up(conf, sql=sql)
    assert logging.getLogger(logs.SQL_LOGGER).getEffectiveLevel() == level


def test_the_file_that_devstack_writes_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "placement.conf").write_text(DEVSTACK.read_text())
    conf = options.read_options(ConfigFiles((DEVSTACK,)), environment={})
    assert conf.debug is True
    assert options.value_of(conf, "api", "auth_strategy") == "keystone"
    assert options.ineffective(conf) == []
    environment = {
        CONFIG_DIRECTORY_VARIABLE: str(tmp_path),
        "OS_PLACEMENT_API__AUTH_STRATEGY": "noauth2",
    }
    settings = settings_of_process(environment)
    assert settings.store.url.startswith("mysql+pymysql://root:secretdatabase@127.0.0.1/placement")
    place = f"({tmp_path}/placement.conf)"
    profiler, counter = settings.remarks
    assert profiler.startswith(f"[profiler] {place} has no effect: Moorage has no profiler")
    assert profiler.endswith("Ignored: connection_string, hmac_keys, trace_sqlalchemy, enabled.")
    assert counter.startswith("[placement_database] connection: plugin=dbcounter is ignored")

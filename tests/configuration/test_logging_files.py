"""Logging files of deployers, as they are, show what the service says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from moorage.cli.main import main
from moorage.model.errors import ConfigurationError
from moorage.wiring import logs, options
from moorage.wiring.config_files import ConfigFiles
from moorage.wiring.log_files import silence
from tests.table import each

DEPLOYED = """\
[loggers]
keys = root,placement

[handlers]
keys = stdout,null

[formatters]
keys = plain

[logger_root]
level = WARNING
handlers = null

[logger_placement]
level = INFO
handlers = stdout
qualname = placement

[handler_stdout]
class = StreamHandler
args = (sys.stdout,)
formatter = plain

[handler_null]
class = logging.NullHandler
formatter = plain
args = ()

[formatter_plain]
format = %(levelname)s %(name)s %(message)s
"""
"""What deployment tools hand to Placement: nothing but its own logger is heard."""

OWN_LOGGER = """
[logger_own]
level = ERROR
handlers = stdout
qualname = moorage
propagate = 0
"""


@pytest.fixture
def _loggers_as_before() -> Iterator[None]:
    """All of them: before oslo.log reads a file, it takes levels and handlers of every logger away."""
    known = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    before = [
        (logger, list(logger.handlers), logger.level, logger.propagate, logger.parent) for logger in known
    ]
    yield
    for logger, handlers, level, propagate, parent in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate, logger.parent = propagate, parent
    logging.captureWarnings(False)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "logging.conf"
    path.write_text(text)
    return path


def configured(tmp_path: Path, text: str) -> ConfigFiles:
    path = tmp_path / "placement.conf"
    path.write_text(
        f"[DEFAULT]\nlog_config_append = {written(tmp_path, text)}\nlog_options = false\n"
        f"[placement_database]\nconnection = sqlite:///{tmp_path}/a.sqlite\n[api]\nauth_strategy = noauth2\n"
    )
    return ConfigFiles((path,))


def say() -> None:
    logger = logging.getLogger("moorage.somewhere.deep")
    logger.debug("a detail")
    logger.info("a piece of news")
    try:
        raise RuntimeError("the reason")
    except RuntimeError:
        logger.exception("a request failed at mysql+pymysql://me:hidden-word@h/n")


@pytest.mark.usefixtures("_loggers_as_before")
def test_a_file_that_knows_only_the_logger_of_placement_shows_what_the_service_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(options.read_options(configured(tmp_path, DEPLOYED), environment={}))
    say()
    told = capsys.readouterr()
    assert told.err == ""
    first, second, *rest = told.out.splitlines()
    assert first == "INFO moorage.somewhere.deep a piece of news"
    assert second == "ERROR moorage.somewhere.deep a request failed at mysql+pymysql://me:***@h/n"
    assert rest[-1] == "RuntimeError: the reason"


@pytest.mark.usefixtures("_loggers_as_before")
def test_a_file_that_speaks_of_our_own_logger_is_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DEPLOYED.replace("root,placement", "root,placement,own") + OWN_LOGGER
    logs.set_up(options.read_options(configured(tmp_path, text), environment={}))
    say()
    assert [line for line in capsys.readouterr().out.splitlines() if "moorage.somewhere" in line] == [
        "ERROR moorage.somewhere.deep a request failed at mysql+pymysql://me:***@h/n"
    ]


@pytest.mark.usefixtures("_loggers_as_before")
def test_a_file_that_silences_the_service_is_told_of_at_start_and_by_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = configured(tmp_path, DEPLOYED.replace("qualname = placement", "qualname = nova"))
    logs.set_up(options.read_options(files, environment={}))
    told = capsys.readouterr().err
    assert "shows no log of the service" in told
    assert "qualname = placement" in told
    result = CliRunner().invoke(main, ["config", "check", "--config-file", str(files.files[0])])
    assert result.exit_code == 0
    assert told.strip() in result.stdout
    files = configured(tmp_path, DEPLOYED)
    result = CliRunner().invoke(main, ["config", "check", "--config-file", str(files.files[0])])
    assert result.stdout == "The configuration can be used.\n"


@each(
    ("old", "new", "silent"),
    [
        ("level = INFO", "level = NOTSET", False),
        ("level = INFO", "", False),
        ("level = INFO", "level = ERROR", False),
        ("level = INFO", "level = CRITICAL", True),
        ("handlers = stdout", "handlers = null", True),
        ("handlers = stdout", "handlers =", True),
        ("args = (sys.stdout,)", "args = (sys.stdout,)\nlevel = CRITICAL", True),
        ("handlers = null", "handlers = null,stdout", False),
        ("qualname = placement", "qualname = other", True),
        ("handlers = stdout\nqualname = placement", "handlers =\nqualname = placement\npropagate = 0", True),
    ],
)
def test_whether_errors_are_shown_is_read_off_the_file(
    old: str, new: str, silent: bool, tmp_path: Path
) -> None:
    assert old in DEPLOYED
    assert bool(silence(written(tmp_path, DEPLOYED.replace(old, new)))) is silent


@each(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("nothing", "no section headers"),
        ("[loggers]\nkeys = root\n[logger_root]\nhandlers = a\n", "handler_a"),
        (DEPLOYED.replace("level = INFO", "level = LOUD"), "LOUD is not a level"),
    ],
)
def test_a_file_that_cannot_be_understood_is_one_line(text: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.conf" if text is None else written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=f"log_config_append: .*cannot be read: .*{reason}"):
        silence(path)

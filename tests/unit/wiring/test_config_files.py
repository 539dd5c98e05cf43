"""Commands, service and WSGI application read the same configuration, and work on the same database."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moorage.cli import upgrade_check
from moorage.cli.main import main
from moorage.model.errors import ConfigurationError
from moorage.wiring import access, config_files, options
from moorage.wiring.config_files import (
    CONFIG_DIRECTORY_VARIABLE,
    CONFIG_FILE_VARIABLE,
    ConfigFiles,
    find_config_files,
)
from moorage.wiring.settings import Chosen, resolve, settings_of_process
from tests.table import each

MakeFile = Callable[..., Path]

NOBODY_LISTENS = "postgresql+psycopg://me:hidden-word@127.0.0.1:1/name"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def naming(url: str) -> str:
    return f"[placement_database]\nconnection = {url}\nmax_retries = 0\n"


# Which files count.


def test_the_first_of_the_usual_places_counts_and_each_program_has_the_same(
    home: Path, etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not find_config_files(environment={})
    # oslo.config would read what is named after the program as well.
    monkeypatch.setattr("sys.argv", ["uwsgi"])
    write(etc / "uwsgi.conf")
    assert find_config_files(environment={}) == ConfigFiles()
    last, parts = write(etc / "placement.conf"), write(etc / "placement.conf.d" / "custom.conf").parent
    assert find_config_files(environment={}) == ConfigFiles((last,), (parts,))
    earlier = write(home / "placement.conf")
    # Each of them is looked for by itself, as Placement has it.
    assert find_config_files(environment={}) == ConfigFiles((earlier,), (parts,))
    earlier = write(home / ".placement" / "placement.conf")
    assert find_config_files(environment={}) == ConfigFiles((earlier,), (parts,))
    write(home / "placement.conf.d", "a file")
    assert find_config_files(environment={}) == ConfigFiles((earlier,))


def test_a_folder_that_the_environment_names_goes_before_the_usual_places(
    tmp_path: Path, home: Path, etc: Path
) -> None:
    write(home / "placement.conf")
    usual = write(etc / "placement.conf.d" / "custom.conf").parent
    named = {CONFIG_DIRECTORY_VARIABLE: str(tmp_path / "named")}
    with pytest.raises(ConfigurationError, match=r"placement\.conf \(OS_PLACEMENT_CONFIG_DIR\) does not"):
        find_config_files(environment=named)
    file = write(tmp_path / "named" / "placement.conf")
    assert find_config_files(environment=named) == ConfigFiles((file,), (usual,))
    own = write(tmp_path / "named" / "placement.conf.d" / "custom.conf").parent
    assert find_config_files(environment=named) == ConfigFiles((file,), (own,))


def test_what_the_command_line_names_goes_before_all_else(tmp_path: Path, home: Path, etc: Path) -> None:
    usual = write(home / "placement.conf")
    write(etc / "placement.conf.d" / "custom.conf")
    write(tmp_path / "named" / "placement.conf")
    environment = {CONFIG_DIRECTORY_VARIABLE: str(tmp_path / "named")}
    first, second = write(tmp_path / "first.conf"), write(tmp_path / "second.conf")
    # Another file's settings are not to be overridden by parts that belong to the usual one.
    assert find_config_files([first], [], environment) == ConfigFiles((first,))
    parts = write(tmp_path / "first.conf.d" / "more.conf").parent
    assert find_config_files([first, second], [], environment) == ConfigFiles((first, second), (parts,))
    assert find_config_files([second], [parts], {}) == ConfigFiles((second,), (parts,))
    assert find_config_files([], [parts], {}) == ConfigFiles((usual,), (parts,))
    nothing = Path(os.devnull)
    assert find_config_files([nothing], [], {}) == ConfigFiles((nothing,))


def test_a_file_or_folder_that_is_named_must_be_there(
    tmp_path: Path, etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"other\.conf \(--config-file\) does not exist"):
        find_config_files([tmp_path / "other.conf"], [], {})
    with pytest.raises(ConfigurationError, match=r"\(--config-file\) does not exist"):
        find_config_files([tmp_path], [], {})
    with pytest.raises(ConfigurationError, match=r"nowhere \(--config-dir\) does not exist"):
        find_config_files([], [tmp_path / "nowhere"], {})
    # oslo.config takes a folder that it cannot list for an empty one.
    parts = write(etc / "placement.conf.d" / "custom.conf").parent
    monkeypatch.setattr(os, "access", lambda path, _: path != parts)
    with pytest.raises(ConfigurationError, match=r"placement\.conf\.d cannot be read"):
        find_config_files(environment={})


def test_a_worker_takes_what_it_is_handed_and_nothing_else(tmp_path: Path, home: Path) -> None:
    write(home / "placement.conf")
    files, folder = (tmp_path / "a.conf", tmp_path / "b.conf"), tmp_path / "parts"
    for given in (
        ConfigFiles(),
        ConfigFiles(files),
        ConfigFiles(files, (folder,)),
        ConfigFiles((), (folder,)),
    ):
        assert find_config_files(environment=given.handed()) == given
    assert str(ConfigFiles(files, (folder,))) == ", ".join(map(str, (*files, folder)))


# Which database that comes to.


@pytest.fixture
def mounted(etc: Path) -> Path:
    """placement.conf with a database, and placement.conf.d with another, as charts mount it."""
    write(etc / "placement.conf", naming(NOBODY_LISTENS.replace("/name", "/file")))
    return write(
        etc / "placement.conf.d" / "custom.conf",
        naming(NOBODY_LISTENS) + "[api]\nauth_strategy = noauth2\n[oslo_policy]\nenforce_scope = false\n",
    )


def test_all_that_reads_a_configuration_reads_the_same(
    mounted: Path, etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    application = settings_of_process({})
    assert application.store.url == NOBODY_LISTENS
    for environment in ({}, {CONFIG_DIRECTORY_VARIABLE: str(etc)}):
        assert settings_of_process(environment) == application
        served = resolve(Chosen(), environment, serving=True)
        assert (served.named_by, served.embedded) == (str(mounted), False)
        assert served.settings == application
        assert settings_of_process(served.environment) == application
        assert resolve(Chosen(), environment).settings == application
        assert upgrade_check.main(["upgrade", "check", "--json"], environment) == 2
        assert f"127.0.0.1:1/name ({mounted})" in capsys.readouterr().err
    named = Chosen(config_files=(etc / "placement.conf",))
    assert resolve(named, {}, serving=True).settings == application
    assert (
        upgrade_check.main(["--config-file", str(etc / "placement.conf"), "upgrade", "check", "--json"], {})
        == 2
    )
    assert f"127.0.0.1:1/name ({mounted})" in capsys.readouterr().err


@each(
    "command",
    [
        ["db", "sync"],
        ["db", "version"],
        ["status"],
        ["verify"],
        ["token", "list"],
        ["token", "create", "--role", "admin"],
        ["load", "hosts.yaml"],
        ["serve", "--port", "0"],
        ["config", "check"],
    ],
)
def test_a_command_without_arguments_works_on_the_database_of_the_usual_files_and_says_so(
    command: list[str], mounted: Path, tmp_path: Path
) -> None:
    write(tmp_path / "hosts.yaml", "providers: []\n")
    before = sorted(tmp_path.rglob("*"))
    result = run(*command)
    first, *rest = result.stderr.splitlines()
    assert first == f"Database: postgresql+psycopg://me:***@127.0.0.1:1/name ({mounted})"
    if command != ["config", "check"]:
        assert result.exit_code != 0
        assert "The database cannot be used: nothing listens at its address" in rest[-1]
    assert "hidden-word" not in result.output
    assert sorted(tmp_path.rglob("*")) == before


READING = (
    ["db", "version"],
    ["status"],
    ["verify"],
    ["token", "list"],
    ["token", "revoke", "x"],
    ["load", "hosts.yaml", "--dry-run"],
)
WRITING = (["db", "sync"], ["token", "create", "--role", "admin"], ["load", "hosts.yaml"])


@each("command", [*READING, *WRITING])
def test_a_command_does_not_make_a_database_that_nothing_names(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "hosts.yaml", "providers: []\n")
    before = sorted(tmp_path.rglob("*"))
    # Where nothing leads to a database, load and status talk to a service.
    monkeypatch.setattr("moorage.cli.client.address.DEFAULT_URL", "http://127.0.0.1:9")
    result = run(*command)
    assert result.exit_code != 0
    *first, line = result.stderr.splitlines()
    if command[0] in ("load", "status"):
        assert first == ["Service: http://127.0.0.1:9 (the default)"]
        assert "Nothing answers at http://127.0.0.1:9." in line
    else:
        assert first == []
        assert (
            "No database is named, and the default one (moorage-data/moorage.sqlite) does not exist" in line
        )
    assert all(way in line for way in ("--database URL", "--data-dir DIRECTORY", "--config-file FILE"))
    assert sorted(tmp_path.rglob("*")) == before


@each("command", READING)
@each("named", [["--database", "sqlite:///sub/new.sqlite"], ["--data-dir", "sub"]])
def test_a_command_that_reads_makes_no_file(command: list[str], named: list[str], tmp_path: Path) -> None:
    write(tmp_path / "hosts.yaml", "providers: []\n")
    before = sorted(tmp_path.rglob("*"))
    result = run(*command, *named)
    assert result.exit_code != 0
    assert f"does not exist: 'moorage db sync {' '.join(named)}' makes it" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.usefixtures("default_database")
@each("command", [*READING[:4], *WRITING])
def test_the_default_database_is_worked_on_where_it_is_there_and_told(
    command: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "hosts.yaml", "providers: []\n")
    result = run(*command)
    assert result.exit_code == 0, result.output
    place = tmp_path / "moorage-data" / "moorage.sqlite"
    assert result.stderr.splitlines()[0] == f"Database: sqlite:///{place} (the default)"


def test_a_database_named_on_the_command_line_goes_before_file_and_environment(
    mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PLACEMENT_DATABASE__CONNECTION", "sqlite:///variable")
    assert resolve(Chosen()).named_by == "OS_PLACEMENT_DATABASE__CONNECTION"
    monkeypatch.setenv("OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION", "sqlite:///longer")
    resolved = resolve(Chosen())
    assert resolved.named_by == "OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION"
    assert resolved.settings.store.url == "sqlite:///longer"
    told = resolve(Chosen(data_directory=tmp_path / "told"), serving=True)
    assert (told.named_by, told.embedded) == ("--data-dir", True)
    assert told.settings.store.url == f"sqlite:///{tmp_path}/told/moorage.sqlite"
    assert settings_of_process(told.environment) == told.settings
    told = resolve(Chosen(database="sqlite:///x"))
    assert (told.named_by, told.settings.store.url) == ("--database", "sqlite:///x")
    for both in (["--database", "sqlite:///x", "--data-dir", "y"], ["--database", ""]):
        assert run("db", "sync", *both).exit_code == 2


def test_a_configuration_that_names_no_database_is_not_served_on_another_one(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PLACEMENT_DATABASE__CONNECTION", "")
    for serving in (True, False):
        with pytest.raises(ConfigurationError, match=r"connection is empty \(OS_PLACEMENT_DATABASE__CONN"):
            resolve(Chosen(), serving=serving)
    monkeypatch.delenv("OS_PLACEMENT_DATABASE__CONNECTION")
    path = write(etc / "placement.conf", "[api]\nauth_strategy = noauth2\n")
    for serving in (True, False):
        with pytest.raises(ConfigurationError, match=f"The configuration \\({path}\\) names no database"):
            resolve(Chosen(), serving=serving)


def test_a_place_that_cannot_be_looked_into_is_not_taken_for_an_empty_one(
    etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_files, "closed_places", lambda: [etc])
    monkeypatch.setattr("moorage.wiring.settings.closed_places", lambda: [etc])
    with pytest.raises(ConfigurationError, match="is not readable for this user"):
        resolve(Chosen(), serving=True)
    resolve(Chosen(data_directory=tmp_path), serving=True)
    resolve(Chosen(), serving=True, sample=True)


def test_closed_places_are_those_that_are_there_and_cannot_be_searched(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home / ".placement" not in config_files.closed_places()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert home / ".placement" in config_files.closed_places()


def test_the_sample_cloud_goes_into_no_database_of_the_usual_files(mounted: Path, tmp_path: Path) -> None:
    resolved = resolve(Chosen(), {}, serving=True, sample=True)
    assert resolved.settings.store.url == f"sqlite:///{tmp_path}/moorage-data/moorage.sqlite"
    assert access.strategy(resolved.settings.conf) == options.NOAUTH
    assert str(mounted.parent) in str(resolved.passed_over)
    assert resolved.environment[CONFIG_FILE_VARIABLE] == ""
    named = {CONFIG_DIRECTORY_VARIABLE: str(mounted.parents[1])}
    resolved = resolve(Chosen(), named, serving=True, sample=True)
    assert (resolved.settings.store.url, resolved.passed_over) == (NOBODY_LISTENS, ConfigFiles())


def test_the_remedy_repeats_the_options_without_the_password(tmp_path: Path) -> None:
    chosen = Chosen((tmp_path / "a b.conf",), (tmp_path / "parts",), "mysql://u:secret@h/n", None)
    assert str(chosen) == (
        f"--config-file '{tmp_path}/a b.conf' --config-dir {tmp_path}/parts --database 'mysql://u:***@h/n'"
    )
    assert str(Chosen()) == ""

"""What all commands share: options on both sides of the command, forms of answers and errors, suggestions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from moorage.cli.client.address import service_url
from moorage.cli.completion import SHELLS
from moorage.cli.main import COMMANDS, main
from moorage.cli.shared import output
from tests.table import each
from tests.unit.cli.client.conftest import (
    Terminal,
    host,
    host_template,
    prepare,
    prepared_databases,
    service_database,
    sqlite_template,
    terminal,
)

__all__ = [
    "host",
    "host_template",
    "prepare",
    "prepared_databases",
    "service_database",
    "sqlite_template",
    "terminal",
]


MISSING = "There is no resource provider 'hots1'. Did you mean host1?"


def run(*arguments: str, **environment: str | None) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environment)


# Which service.


def test_service_token_and_form_stand_before_the_command_or_behind_it(terminal: Terminal) -> None:
    terminal.does("provider", "create", "host1")
    elsewhere = "http://127.0.0.1:9"
    for arguments in (
        ["--url", terminal.url, "--token", "admin", "--json", "provider", "list"],
        ["provider", "list", "--url", terminal.url, "--token", "admin", "--json"],
        # What stands behind the command counts for more, and both for more than the environment.
        ["--url", elsewhere, "-f", "yaml", "provider", "list", "--url", terminal.url, "-f", "json"],
    ):
        result = run(*arguments, MOORAGE_URL=elsewhere, MOORAGE_TOKEN=None)
        assert result.exit_code == 0, result.output
        assert [each["name"] for each in json.loads(result.stdout)] == ["host1"]
        assert result.stderr == ""


def test_first_line_on_stderr_says_which_service_it_is_and_what_names_it(terminal: Terminal) -> None:
    assert terminal.run("provider", "list").stderr == f"Service: {terminal.url} (MOORAGE_URL)\n"
    result = run("provider", "list", "--url", terminal.url)
    assert (result.stdout, result.stderr) == ("None.\n", f"Service: {terminal.url} (--url)\n")
    result = run("provider", "list", MOORAGE_URL=None)
    assert result.stderr.startswith("Service: http://127.0.0.1:8778 (the default)\n")


def test_address_without_a_scheme_is_one_of_http(terminal: Terminal) -> None:
    address = terminal.url.removeprefix("http://")
    assert run("provider", "list", MOORAGE_URL=address).stdout == "None.\n"
    assert service_url("localhost:8778/", "--url") == "http://localhost:8778"
    assert service_url("[::1]:8778", "--url") == "http://[::1]:8778"
    assert service_url("https://h/placement/", "--url") == "https://h/placement"


@each("text", ["ftp://h", "http://", "http://[::1", "http://h:99999", "h:0", "h:x"])
def test_text_that_is_no_address_is_a_wrong_command_line(text: str) -> None:
    result = run("provider", "list", MOORAGE_URL=text)
    assert result.exit_code == 2
    assert f"MOORAGE_URL: '{text}' is not the address of a service" in result.stderr


def test_service_is_not_named_for_a_command_that_opens_a_database() -> None:
    for option in (("--url", "http://h"), ("--token", "t")):
        result = run(*option, "db", "sync")
        assert result.exit_code == 2
        assert (
            "moorage db does not talk to a service, so it accepts neither --url nor --token." in result.stderr
        )


# Forms.


def test_answer_in_each_form_says_the_same(host: Terminal) -> None:
    data = host.json("provider", "show", "host1")
    assert yaml.safe_load(host.does("provider", "show", "host1", "-f", "yaml")) == data
    assert json.loads(host.does("provider", "show", "host1", "--format=json")) == data
    table = host.does("provider", "show", "host1")
    assert host.does("--json", "provider", "show", "host1", "-f", "table") == table
    assert host.run("provider", "list", "-f", "xml").exit_code == 2


@each(
    ("arguments", "told"),
    [
        (
            ["provider", "show", "hots1"],
            {"error": MISSING},
        ),
        (
            ["provider", "delete", "host1"],
            {"status": 409, "code": "placement.resource_provider.cannot_delete_parent"},
        ),
        (["provider", "tree", "--frobnicate"], {"exit_status": 2}),
        (
            ["providers"],
            {"error": "There is no command 'providers'. Did you mean provider?"},
        ),
    ],
)
def test_error_is_data_where_the_answer_would_be(
    arguments: list[str], told: dict[str, object], host: Terminal
) -> None:
    for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        result = host.run("-f", form, *arguments)
        assert result.stdout == ""
        error = load(result.stderr)
        assert error | told == error
        assert error["exit_status"] == result.exit_code
        assert isinstance(error["error"], str)
    assert host.run(*arguments).stderr.count("{") == 0


@each(
    ("words", "form"),
    [
        ([], "table"),
        (["provider", "list", "--json"], "json"),
        (["-f", "yaml", "x"], "yaml"),
        (["-fyaml"], "yaml"),
        (["--format=json"], "json"),
        (["--format", "json"], "json"),
        (["--format"], "table"),
        (["-f", "xml"], "table"),
        (["--json", "-f", "table"], "table"),
    ],
)
def test_form_of_an_error_is_seen_in_a_command_line_that_is_wrong_otherwise(
    words: Sequence[str], form: str
) -> None:
    assert output.asked_format(words) == form


def test_hint_is_part_of_an_error_as_data(host: Terminal) -> None:
    error = json.loads(host.run("provider", "delete", "host1", "--json").stderr)
    assert "moorage provider tree" in error["hint"]
    assert host.run("provider", "delete", "host1").stderr.splitlines()[-1] == error["hint"]


def test_hint_repeats_the_service_that_was_named(host: Terminal) -> None:
    text = run("provider", "delete", "host1", "--url", host.url).stderr
    assert f"--url {host.url}' shows its children" in text
    assert "--url" not in host.run("provider", "delete", "host1").stderr


# Suggestions, completion, interruption.


@each(
    ("words", "told"),
    [
        (["providers"], "There is no command 'providers'. Did you mean provider?"),
        (["alocation"], "Did you mean allocation?"),
        (["provider", "lst"], "There is no command 'lst'. Did you mean list or set?"),
        (["db", "snyc"], "Did you mean sync?"),
        (["token", "creat"], "Did you mean create?"),
        (["xyzzy"], "There is no command 'xyzzy'.\n"),
        (["provider", "list", "--nam", "x"], "--name"),
    ],
)
def test_command_that_may_have_been_meant_is_named(words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_a_script_that_the_shell_reads(shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_MOORAGE_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, capture_output=True)


def test_completion_of_names_asks_the_service_that_stands_before_the_command(host: Terminal) -> None:
    words = f"moorage --url {host.url} provider show "
    variables = {"_MOORAGE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    result = CliRunner().invoke(main, [], prog_name="moorage", env=variables)
    assert result.stdout.split() == ["plain,gpu1", "plain,host1"]


def test_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("moorage.cli.client.call.ServiceConnection", interrupted)
    result = run("provider", "list")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Aborted."
    assert os.environ.get("MOORAGE_URL") is None


def test_help_tells_services_and_databases_apart() -> None:
    text = run("--help").stdout
    assert "0 done, 1 refused or failed, 2 wrong command line, 3 the answer" in " ".join(text.split())
    sections = re.split(r"^(Commands that .*|Other commands):$", text, flags=re.MULTILINE)[1:]
    listed = {
        heading: set(re.findall(r"^  ([a-z-]+) ", body, re.MULTILINE))
        for heading, body in zip(sections[::2], sections[1::2], strict=True)
    }
    assert {"provider", "candidates", "usage"} < listed["Commands that talk to a service (--url)"]
    assert {"db", "serve", "token", "verify", "import"} < listed[
        "Commands that open a database (--database, --config-file)"
    ]
    assert listed["Commands that do either"] == {"load", "status"}
    assert set.union(*listed.values()) == set(COMMANDS)


@pytest.mark.slow
@each(
    "arguments",
    [
        ["db", "sync", "--database", "sqlite:///new.sqlite"],
        ["db", "version", "--database", "sqlite:///new.sqlite"],
        ["config", "check", "--database", "sqlite:///new.sqlite"],
        ["policy", "list", "--role", "reader"],
        ["token", "create", "--role", "admin", "--database", "sqlite:///new.sqlite"],
        ["token", "list", "--database", "sqlite:///new.sqlite"],
        ["verify", "--follow", "0", "--database", "sqlite:///new.sqlite"],
        ["status", "--database", "sqlite:///new.sqlite"],
    ],
)
def test_commands_on_a_database_answer_in_each_form_too(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run("db", "sync", "--database", "sqlite:///new.sqlite")
    for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        result = run(*arguments, "-f", form)
        assert (result.exit_code, result.stderr) == (0, "")
        assert load(result.stdout)
    assert run(*arguments).stdout

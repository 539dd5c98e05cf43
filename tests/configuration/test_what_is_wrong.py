"""What of a configuration cannot work, or has no effect, is named: all of it, at once, before the start."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy.dialects import plugins

from moorage.cli.main import main
from moorage.model.errors import ConfigurationError
from moorage.store.urls import check_url, database_url, left_out
from moorage.wiring import options, startable
from moorage.wiring.config_files import ConfigFiles
from moorage.wiring.settings import Chosen, resolve, settings_of_process
from moorage.wiring.unknown_options import unread
from tests.table import each

GOOD = "[placement_database]\nconnection = sqlite:///x\n[api]\nauth_strategy = noauth2\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "placement.conf"
    path.write_text(text)
    return path


def unread_in(tmp_path: Path, text: str) -> list[str]:
    files = ConfigFiles((written(tmp_path, text),))
    conf, _ = options.read(files, None, {})
    return [
        line.replace(f" ({tmp_path}/placement.conf)", "")
        for line in unread(files, {}, startable.known_names(conf))
    ]


# Names that nothing reads.


@each(
    ("text", "line"),
    [
        (
            "[api]\nauth_strategi = x",
            "[api] auth_strategi is unknown and has no effect. Is auth_strategy meant?",
        ),
        ("[apy]\na = b", "[apy] is unknown and has no effect. Is [api] meant?"),
        ("[zzzzzz]\na = b", "[zzzzzz] is unknown and has no effect."),
        ("[placement]\nzzzzzz = b", "[placement] zzzzzz is unknown and has no effect."),
        (
            "[DEFAULT]\nmax_allocation_candidates = 3",
            "[DEFAULT] max_allocation_candidates is unknown and has no effect. It belongs to [placement].",
        ),
        (
            "[database]\nconnection = x",
            "[database] is unknown and has no effect. Is [placement_database] meant?",
        ),
        (
            "[keystone_authtoken]\nauth_type = password\nusernam = x",
            "[keystone_authtoken] usernam is unknown and has no effect. Is username meant?",
        ),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_known_one(text: str, line: str, tmp_path: Path) -> None:
    assert unread_in(tmp_path, text + "\n") == [line]


def test_names_that_are_read_in_whatever_way_are_not_unknown(tmp_path: Path) -> None:
    assert (
        unread_in(
            tmp_path,
            "[DEFAULT]\nauth_strategy = keystone\nlog-file = x\ndebug = true\n"
            "[Placement_Database]\nconnection = x\n"
            "[keystone_authtoken]\nauth_type = password\npassword = y\nuser-name = z\n"
            "[oslo_middleware]\nenable_proxy_headers_parsing = true\n",
        )
        == []
    )
    # Another way to authenticate does not read the section at all.
    assert unread_in(tmp_path, "[api]\nauth_strategy = token\n[keystone_authtoken]\nany = thing\n") == []


def test_options_of_the_sample_are_all_known(tmp_path: Path) -> None:
    sample = CliRunner().invoke(main, ["config", "sample"]).output
    text = "".join(
        line.removeprefix("#") + "\n"
        for line in sample.splitlines()
        if line.startswith("[") or (line[:1] == "#" and line[1:2].isalpha() and " = " in line)
    )
    # The plugin's options come with auth_type, and oslo.log publishes two of them elsewhere.
    assert [line for line in unread_in(tmp_path, text) if "log_opt" not in line] == []


@each(
    ("variable", "hint"),
    [
        ("OS_PLACEMENT_API__AUTH_STRATEGI", " Is auth_strategy meant?"),
        ("OS_PLACEMENT_APY__AUTH_STRATEGY", " Is [api] meant?"),
        ("OS_PLACEMENT_DATABASE__CONNEXION", " Is connection meant?"),
    ],
)
def test_an_unknown_variable_is_told_too(variable: str, hint: str) -> None:
    known = startable.known_names(options.read()[0])
    fine = {
        "OS_PLACEMENT_CONFIG_DIR": "",
        "OS_PLACEMENT_DATABASE__CONNECTION": "",
        "OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION": "",
        "OS_PLACEMENT_PROFILER__ENABLED": "",
        "OS_USERNAME": "",
        "OS_NOVA__DEBUG": "",
    }
    line = f"The variable {variable} is unknown and has no effect.{hint}"
    assert unread(ConfigFiles(), {**fine, variable: "x"}, known) == [line]


def test_each_file_that_is_read_is_looked_through(tmp_path: Path) -> None:
    file, parts = written(tmp_path, GOOD), tmp_path / "placement.conf.d"
    parts.mkdir()
    (parts / "a.conf").write_text("[placement]\nodd = 1\n")
    settings = resolve(Chosen(config_files=(file,)), {}, serving=True).settings
    assert settings.remarks == (f"[placement] odd ({parts}/a.conf) is unknown and has no effect.",)


# What cannot start.


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "p.yaml").write_text("[")
    path = written(
        tmp_path,
        "[DEFAULT]\nuse_journal = true\nlog_file = /nowhere/at/all.log\n"
        "[placement_database]\nconnection = mysql+pymysql://u:hidden@h/n?charset=utf8&plugin=counterfeit\n"
        "max_retries = many\n[placement]\nmax_allocation_candidates = few\n"
        "[moorage]\nmetrics_listen = 9778\ntraces = true\n[oslo_policy]\npolicy_file = p.yaml\n",
    )
    result = CliRunner().invoke(main, ["config", "check", "--config-file", str(path)])
    assert result.exit_code == 1
    for words in (
        "[placement_database] max_retries: ",
        "[placement] max_allocation_candidates: ",
        "[placement_database] connection: plugin=counterfeit cannot be loaded",
        "[DEFAULT] use_journal needs the Python bindings of systemd",
        "[DEFAULT] log_file: /nowhere/at/all.log cannot be written to.",
        "[moorage] metrics_listen: 9778 is not HOST:PORT.",
        "[moorage] traces needs OpenTelemetry",
        "p.yaml cannot be understood",
        "[api] auth_strategy is keystone, but [keystone_authtoken] does not say",
    ):
        assert result.stderr.count(words) == 1, result.stderr
    assert "hidden" not in result.output
    with pytest.raises(ConfigurationError) as refused:
        settings_of_process({"MOORAGE_CONFIG_FILE": str(path)})
    assert str(refused.value) == result.stderr.strip()


def test_a_database_that_is_missing_is_told_with_all_else(tmp_path: Path) -> None:
    path = written(tmp_path, "[moorage]\nmetrics_listen = x\n")
    with pytest.raises(ConfigurationError) as refused:
        resolve(Chosen(config_files=(path,)), {}, serving=True)
    assert "names no database" in str(refused.value)
    assert "metrics_listen" in str(refused.value)


@each(
    ("url", "words"),
    [
        ("mysql+pymysql://u:p@h/n?frobnicate=1", "PyMySQL knows no parameter frobnicate"),
        (
            "mysql+pymysql://u:p@h/n?ssl_ca=/nowhere/ca.pem",
            "the file of ssl_ca does not exist: /nowhere/ca.pem",
        ),
        ("mysql+pymysql://u:p@h:99999/n", "99999 is no port"),
        ("postgresql://u:p@h/n?frobnicate=1", "the driver psycopg refuses it"),
        ("postgresql://u:p@h/n?sslrootcert=/nowhere/ca.pem", "the file of sslrootcert does not exist"),
        ("mysql+pymysql://u:p@h/n?plugin=a&plugin=b", "plugin=a cannot be loaded"),
        ("mysql+pymysql://u:p@h:port/n", "not an SQLAlchemy URL"),
    ],
)
def test_a_url_that_cannot_work_is_refused_before_anything_is_asked(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_url(url)


def test_a_plugin_that_only_counts_is_left_out_where_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "mysql+pymysql://u:p@h/n?charset=utf8&plugin=dbcounter"
    check_url(url)
    assert left_out(url) == ["dbcounter"]
    assert database_url(url) == sa.make_url("mysql+pymysql://u:p@h/n?charset=utf8")
    monkeypatch.setattr(plugins, "load", lambda name: object())
    assert left_out(url) == []
    assert database_url(url) == sa.make_url(url)
    for fine in (
        "postgresql://u:p@h/n?sslmode=require",
        "postgresql://h/n?sslrootcert=system",
        "sqlite:///x",
    ):
        check_url(fine)


def test_what_a_service_starts_in_spite_of_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, f"{GOOD}[oslo_policy]\npolicy_file = missing.yaml\n")
    result = CliRunner().invoke(main, ["config", "check", "--config-file", str(path)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "[oslo_policy] policy_file: missing.yaml does not exist; the default rules apply.",
        "The configuration can be used.",
    ]

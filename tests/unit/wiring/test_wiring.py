"""From options to settings, and from settings to the parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.api.http.settings import Limits
from moorage.model.errors import ConfigurationError
from moorage.model.journal import JournalMode
from moorage.model.requests import SearchSettings
from moorage.service.settings import ChangeLogSettings, CommitSettings
from moorage.store.urls import with_parameters
from moorage.wiring import access, options
from moorage.wiring.config_files import CONFIG_FILE_VARIABLE, ConfigFiles
from moorage.wiring.limits import ServerSettings
from moorage.wiring.parts import opened_store
from moorage.wiring.settings import Chosen, resolve, settings_from, settings_of_process


def conf_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "placement.conf"
    path.write_text(text)
    return path


def test_without_any_word_the_embedded_database_and_noauth2_serve(tmp_path: Path) -> None:
    resolved = resolve(Chosen(data_directory=tmp_path / "data"), {}, serving=True)
    assert resolved.embedded
    assert resolved.settings.store.url == f"sqlite:///{tmp_path}/data/moorage.sqlite"
    assert not (tmp_path / "data").exists()
    assert resolved.environment[CONFIG_FILE_VARIABLE] == ""
    assert access.strategy(resolved.settings.conf) == options.NOAUTH


def test_worker_arrives_at_the_settings_of_its_parent(tmp_path: Path) -> None:
    path = conf_file(tmp_path, "[api]\nauth_strategy = noauth2\n[placement]\nmax_allocation_candidates = 9\n")
    url = "postgresql+psycopg://me:pa$$word@host/name"
    chosen = Chosen(config_files=(path,), database=url, data_directory=tmp_path / "unused")
    resolved = resolve(chosen, {}, serving=True)
    assert not resolved.embedded
    assert resolved.settings.store.url == url
    assert settings_of_process(resolved.environment) == resolved.settings
    assert not (tmp_path / "unused").exists()
    embedded = resolve(Chosen(data_directory=tmp_path / "da$ta"), {}, serving=True)
    assert settings_of_process(embedded.environment) == embedded.settings


def test_configuration_that_wants_keystone_and_does_not_say_where_it_is_is_refused(tmp_path: Path) -> None:
    path = conf_file(tmp_path, "[placement_database]\nconnection = sqlite:///x\n")
    with pytest.raises(ConfigurationError, match=r"\[keystone_authtoken\] does not say how"):
        resolve(Chosen(config_files=(path,)), {}, serving=True)
    resolve(Chosen(config_files=(path,)), {})
    resolve(Chosen(config_files=(path,)), {"OS_PLACEMENT_API__AUTH_STRATEGY": "noauth2"}, serving=True)
    with pytest.raises(ConfigurationError, match="auth_strategy is keystone"):
        resolve(
            Chosen(data_directory=tmp_path), {"OS_PLACEMENT_API__AUTH_STRATEGY": "keystone"}, serving=True
        )
    with pytest.raises(ConfigurationError, match="auth_strategy is keystone"):
        settings_of_process({CONFIG_FILE_VARIABLE: str(path)})


def test_a_policy_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    path = conf_file(tmp_path, "[api]\nauth_strategy = noauth2\n[oslo_policy]\npolicy_file = p.yaml\n")
    (tmp_path / "p.yaml").write_text("[")
    with pytest.raises(ConfigurationError, match=r"p\.yaml cannot be understood"):
        resolve(Chosen(config_files=(path,), data_directory=tmp_path), {}, serving=True)
    resolve(Chosen(config_files=(path,), data_directory=tmp_path), {})


def test_process_without_a_database_is_told_which_option_is_missing() -> None:
    environment = {CONFIG_FILE_VARIABLE: "", "OS_PLACEMENT_API__AUTH_STRATEGY": "noauth2"}
    with pytest.raises(ConfigurationError, match="OS_PLACEMENT_DATABASE__CONNECTION"):
        settings_of_process(environment)


def test_every_option_reaches_the_room_that_it_is_for(tmp_path: Path) -> None:
    path = conf_file(
        tmp_path,
        """
[placement_database]
connection = mysql+pymysql://u:p@h/n?charset=utf8
connection_parameters = read_timeout=5
sync_on_startup = true
max_pool_size = 1
max_overflow = 2
pool_timeout = 3
connection_recycle_time = 4
max_retries = 5
retry_interval = 6
sqlite_synchronous = false
mysql_sql_mode = ANSI
[placement]
randomize_allocation_candidates = true
max_allocation_candidates = 8
allocation_candidates_generation_strategy = breadth-first
incomplete_consumer_project_id = project
incomplete_consumer_user_id = user
[moorage]
search_step_limit = 9
search_limit_action = truncate
search_kept_bytes = 22
commit_group_size = 17
commit_queue_length = 18
commit_deadline_seconds = 19
place_step_limit = 23
change_log_revisions = 20
change_log_hours = 2
idempotency_hours = 3
journal = refs
changes_waiters = 6
journal_revisions = 5
journal_days = 2
max_body_bytes = 1024
max_url_bytes = 1025
max_header_bytes = 1026
max_request_groups = 10
max_subtree_groups = 22
max_traits = 11
max_aggregates = 12
max_inventories = 13
max_allocations = 14
max_connections = 15
idle_timeout = 16
body_timeout = 21
one_processor_per_worker = false
""",
    )
    settings = settings_from(options.read_options(ConfigFiles((path,)), environment={}))
    store = settings.store
    assert store.url == "mysql+pymysql://u:p@h/n?charset=utf8&read_timeout=5"
    assert (store.max_pool_size, store.max_overflow, store.pool_timeout_seconds) == (1, 2, 3)
    assert (store.recycle_seconds, store.connect_retries, store.connect_retry_seconds) == (4, 5, 6)
    assert (store.sqlite_synchronous_full, store.mysql_sql_mode) == (False, "ANSI")
    assert settings.service.search == SearchSettings(
        max_candidates=8, breadth_first=True, randomize=True, step_limit=9, truncate=True, kept_bytes=22
    )
    assert settings.api.incomplete_consumer_project_id == "project"
    assert settings.api.incomplete_consumer_user_id == "user"
    assert settings.api.limits == Limits(1024, 1025, 1026, 10, 22, 11, 12, 13, 14)
    assert settings.server == ServerSettings(15, 16, 21, False, 1025 + 1026)
    assert settings.service.commit == CommitSettings(17, 18, 19, 23)
    assert settings.service.change_log == ChangeLogSettings(20, 7200, 10800, 5, 172800)
    assert settings.service.changes_waiters == 6
    assert settings.store.journal is JournalMode.REFS
    assert settings.sync_on_startup


def test_parameters_are_put_behind_the_url() -> None:
    assert with_parameters("sqlite:///x", "") == "sqlite:///x"
    assert with_parameters("sqlite:///x", "a=1") == "sqlite:///x?a=1"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file", "cannot be made: File exists"),
        ("file/data", "cannot be made: Not a directory"),
    ],
)
def test_data_directory_that_cannot_be_made_is_one_clear_line(
    tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "file").write_text("")
    settings = resolve(Chosen(data_directory=tmp_path / place), {}).settings
    with opened_store(settings) as store, pytest.raises(ConfigurationError, match=reason):
        store.migrate()

"""A process imports the libraries that it needs, and no others: most of the time of a start is theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from moorage.store.settings import StoreSettings
from moorage.store.store import Store

TELL = "import sys; print(*{each.partition('.')[0] for each in sys.modules})"

SERVE = f"""
import moorage.cli.serve
import moorage.serve.worker
from moorage.wiring.parts import build_application, opened_service
from moorage.wiring.settings import settings_of_process
settings = settings_of_process()
with opened_service(settings, migrate=True):
    pass
build_application(settings, prepared=True)
{TELL}
"""
"""What ``moorage serve`` does in both of its processes, on a database that has its schema."""

HTTP = {"requests", "urllib3"}
SERVER = {"falcon", "granian", "jsonschema", "numpy", "oslo_config", "oslo_policy", "sqlalchemy", "webob"}
ONLY_IF_ASKED_FOR = {
    "alembic",
    "jinja2",
    "keystoneauth1",
    "keystonemiddleware",
    "mako",
    "opentelemetry",
    "oslo_middleware",
    "prometheus_client",
    "psycopg",
    "pygments",
    "pymysql",
}


def imported(code: str, variables: Mapping[str, str] | None = None) -> set[str]:
    """The libraries that a new process has imported at the end of ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(variables or {})},
    )
    return set(done.stdout.split())


@pytest.mark.slow
def test_service_on_sqlite_imports_no_other_driver_and_nothing_that_is_switched_off(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'account.sqlite'}"
    store = Store(StoreSettings(url))
    store.migrate()
    store.close()
    variables = {"OS_PLACEMENT_DATABASE__CONNECTION": url, "OS_API__AUTH_STRATEGY": "noauth2"}
    found = imported(SERVE, variables)
    assert found >= SERVER
    assert not found & ONLY_IF_ASKED_FOR


def test_command_that_talks_to_a_service_imports_none_of_the_servers_libraries() -> None:
    found = imported(f"import moorage.cli.main, moorage.cli.client.provider; {TELL}")
    assert found >= HTTP
    assert not found & (ONLY_IF_ASKED_FOR | SERVER)


def test_command_line_by_itself_imports_no_library_for_http() -> None:
    found = imported(f"import moorage.cli.main; {TELL}")
    assert "click" in found
    assert not found & (ONLY_IF_ASKED_FOR | SERVER | HTTP)

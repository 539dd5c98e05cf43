"""A throw-away Keystone with an SQLite file, and the people in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

from tests.servers.keeper import without_coverage
from tests.servers.ports import free_port

START_SECONDS = 120
PASSWORD = "correct horse battery staple"
SERVICE_PASSWORD = "$special & characters %(of)s an honest password"

CONFIGURATION = """\
[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/tokens
[fernet_receipts]
key_repository = {folder}/receipts
[credential]
key_repository = {folder}/credentials
[identity]
password_hash_rounds = 4
"""


@dataclass
class Keystone:
    """A running one. ``url`` ends with the version of its API."""

    url: str
    projects: dict[str, str] = field(default_factory=dict)
    _admin: str = ""

    def open(self) -> None:
        """Make a project for each of two, and a user for each role in each of them."""
        self._admin = self.token("admin", "admin")
        self._add("roles", "role", name="auditor")
        for name in ("service", "mine", "another"):
            self.projects[name] = self._add("projects", "project", name=name, domain_id="default")
        self.add_user("placement", SERVICE_PASSWORD, "service", ["service"])
        for name in ("reader", "member", "manager", "admin", "service", "auditor"):
            self.add_user(f"{name}-of-mine", PASSWORD, "mine", [name])
        self.add_user("nobody", PASSWORD, "mine", [])
        # Whoever is the administrator of the system is that on a token of the system only.
        user = self.add_user("system-admin", PASSWORD, "mine", [])
        self._ask("PUT", f"/system/users/{user}/roles/{self._role('admin')}")
        user = self.add_user("domain-admin", PASSWORD, "mine", [])
        self._ask("PUT", f"/domains/default/users/{user}/roles/{self._role('admin')}")

    def add_user(self, name: str, password: str, project: str, roles: list[str]) -> str:
        """A user with roles in a project; gives the id."""
        user = self._add("users", "user", name=name, password=password, domain_id="default")
        for role in roles:
            self._ask("PUT", f"/projects/{self.projects[project]}/users/{user}/roles/{self._role(role)}")
        return user

    def token(self, name: str, project: str | None, *, password: str = PASSWORD, scope: object = None) -> str:
        """A token of a user for a project, or for another ``scope``, or for none."""
        user = {"name": name, "domain": {"id": "default"}, "password": password}
        wanted: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if project is not None:
            scope = {"project": {"name": project, "domain": {"id": "default"}}}
        if scope is not None:
            wanted["scope"] = scope
        answer = requests.post(f"{self.url}/auth/tokens", json={"auth": wanted}, timeout=60)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def restricted_token(self, name: str, project: str, service: str, method: str, path: str) -> str:
        """A token of an application credential that is good for one path of one service only."""
        if not self._ask("GET", f"/services?type={service}")["services"]:
            made = self._add("services", "service", name=service, type=service)
            self._add("endpoints", "endpoint", service_id=made, interface="public", url="http://127.0.0.1:1")
        rules = [{"service": service, "method": method, "path": path}]
        return self._credential_token(name, project, access_rules=rules)

    def brief_token(self, name: str, project: str, seconds: float) -> str:
        """A token of a user that expires after so many seconds: its application credential does."""
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        return self._credential_token(name, project, expires_at=f"{end:%Y-%m-%dT%H:%M:%S.%f}")

    def _credential_token(self, name: str, project: str, **limits: object) -> str:
        headers = {"X-Auth-Token": self.token(name, project)}
        (user,) = self._ask("GET", f"/users?name={name}")["users"]
        wanted = {"application_credential": {"name": str(uuid4()), **limits}}
        made = self._ask("POST", f"/users/{user['id']}/application_credentials", wanted, headers)
        credential = made["application_credential"]
        shown = {"id": credential["id"], "secret": credential["secret"]}
        identity = {"methods": ["application_credential"], "application_credential": shown}
        answer = requests.post(f"{self.url}/auth/tokens", json={"auth": {"identity": identity}}, timeout=60)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def revoke(self, token: str) -> None:
        """Make a token worth nothing."""
        self._ask("DELETE", "/auth/tokens", headers={"X-Subject-Token": token})

    def section(self, **more: str) -> str:
        """What an operator writes into placement.conf."""
        options = {
            "www_authenticate_uri": self.url.removesuffix("/v3"),
            "auth_url": self.url.removesuffix("/v3"),
            "auth_type": "password",
            "project_domain_name": "Default",
            "user_domain_name": "Default",
            "project_name": "service",
            "username": "placement",
            # A configuration file takes a dollar sign for a reference.
            "password": SERVICE_PASSWORD.replace("$", "$$"),
            **more,
        }
        return "[keystone_authtoken]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())

    def _add(self, collection: str, kind: str, /, **values: object) -> str:
        return str(self._ask("POST", f"/{collection}", {kind: values})[kind]["id"])

    def _role(self, name: str) -> str:
        (role,) = self._ask("GET", f"/roles?name={name}")["roles"]
        return str(role["id"])

    def _ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        sent = {"X-Auth-Token": self._admin, **(headers or {})}
        answer = requests.request(method, self.url + path, json=body, headers=sent, timeout=60)
        assert answer.ok, (method, path, answer.text)
        return answer.json() if answer.content else None


@contextmanager
def running_keystone(folder: Path) -> Iterator[Keystone]:
    """A new one, its files in ``folder``. It takes some ten seconds."""
    (folder / "keystone.conf").write_text(CONFIGURATION.format(folder=folder))
    for name in ("tokens", "receipts", "credentials"):
        (folder / name).mkdir(mode=0o700)
    port = free_port()
    url = f"http://127.0.0.1:{port}/v3"
    log = folder / "keystone.log"
    manage = [str(Path(sys.executable).with_name("keystone-manage")), "--config-dir", str(folder)]
    owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    environment = without_coverage(os.environ)
    with log.open("wb") as output:
        for words in (
            ["db_sync"],
            ["fernet_setup", *owner],
            [
                *("bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", "Region"),
                *("--bootstrap-public-url", url, "--bootstrap-internal-url", url),
            ],
        ):
            subprocess.run([*manage, *words], check=True, stdout=output, stderr=output, env=environment)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.keystone.process", str(port)],
            stdout=output,
            stderr=output,
            cwd=Path(__file__).parents[2],
            env=environment | {"OS_KEYSTONE_CONFIG_DIR": str(folder)},
        )
        try:
            _wait_for(url, process, log)
            keystone = Keystone(url)
            keystone.open()
            yield keystone
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            if requests.get(url, timeout=10).ok:
                return
        except requests.ConnectionError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)

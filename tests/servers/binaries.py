"""Where the database servers' binaries are, and which packages bring those that are missing.

Run as ``python -m tests.servers.binaries`` it prints the missing packages' names, one per line.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POSTGRESQL = "postgresql"
MARIADB = "mariadb"

URL_VARIABLES: Mapping[str, str] = {
    POSTGRESQL: "MOORAGE_TEST_POSTGRESQL",
    MARIADB: "MOORAGE_TEST_MYSQL",
}
"""Environment variables that name a server to use instead of a throw-away one."""

PACKAGES: Mapping[str, str] = {POSTGRESQL: "postgresql", MARIADB: "mariadb-server"}
"""Debian's and Ubuntu's names of the packages that bring the binaries."""

DISPLAY_NAMES: Mapping[str, str] = {POSTGRESQL: "PostgreSQL", MARIADB: "MariaDB"}

POSTGRESQL_FOLDERS = Path("/usr/lib/postgresql")
"""Debian keeps one folder per major version here, and puts none of them on PATH."""

GALERA_LIBRARIES = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
)
"""Where distributions put the library that makes a cluster of MariaDB servers."""

GALERA_PROGRAMS: Mapping[str, str] = {"rsync": "rsync", "lsof": "lsof"}
"""Packages by the programs with which a node takes over the data of another."""

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
"""Servers are often installed where only an administrator's PATH looks."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The program that makes an empty data folder, and the one that serves it."""

    initialize: Path
    serve: Path


def find(kind: str) -> Binaries | None:
    """Binaries of ``kind``, or None if one of them is not installed."""
    return _find_postgresql() if kind == POSTGRESQL else _find_mariadb()


def missing(environment: Mapping[str, str]) -> list[str]:
    """Kinds for which there are neither binaries nor a server named in ``environment``."""
    return [
        kind for kind, variable in URL_VARIABLES.items() if not environment.get(variable) and not find(kind)
    ]


def galera_library() -> Path | None:
    """Galera's library, None if it is not installed."""
    return next((path for path in map(Path, GALERA_LIBRARIES) if path.exists()), None)


def missing_for_galera() -> list[str]:
    """Packages that a cluster of MariaDB servers needs and that are not there."""
    wanted = [] if find(MARIADB) else [PACKAGES[MARIADB]]
    if galera_library() is None:
        wanted.append("galera-4")
    return wanted + [package for program, package in GALERA_PROGRAMS.items() if not shutil.which(program)]


def haproxy() -> Path | None:
    """The load balancer of the tests with several hosts, None if it is not installed."""
    return _which("haproxy", os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS)))


def _find_postgresql() -> Binaries | None:
    newest_first = sorted(
        POSTGRESQL_FOLDERS.glob("*/bin"),
        key=lambda folder: [int(digits) for digits in re.findall(r"\d+", folder.parent.name)],
        reverse=True,
    )
    for folders in (None, *map(str, newest_first)):
        initialize, serve = _which("initdb", folders), _which("postgres", folders)
        if initialize and serve:
            return Binaries(initialize, serve)
    return None


def _find_mariadb() -> Binaries | None:
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
    initialize = _which("mariadb-install-db", folders)
    serve = _which("mariadbd", folders)
    return Binaries(initialize, serve) if initialize and serve else None


def _which(name: str, folders: str | None) -> Path | None:
    found = shutil.which(name, path=folders)
    return Path(found) if found else None


if __name__ == "__main__":
    packages = [PACKAGES[kind] for kind in missing(os.environ)] + missing_for_galera()
    packages += [] if haproxy() else ["haproxy"]
    sys.stdout.writelines(f"{package}\n" for package in dict.fromkeys(packages))

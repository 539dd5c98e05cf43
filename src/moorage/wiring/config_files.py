"""Finds the configuration files, for commands, the service and the WSGI application alike.

The files are placement.conf and the folder placement.conf.d, as operators of Placement know them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from oslo_config import cfg

from moorage.model.errors import ConfigurationError
from moorage.model.valueclass import valueclass

PROJECT: Final = "placement"
"""The name that oslo.config derives the usual places and names from."""

CONFIG_FILE_NAME: Final = f"{PROJECT}.conf"
CONFIG_PARTS_NAME: Final = f"{PROJECT}.conf.d"

CONFIG_DIRECTORY_VARIABLE: Final = "OS_PLACEMENT_CONFIG_DIR"
"""Environment variable that names the folder of ``placement.conf``."""

CONFIG_FILE_VARIABLE: Final = "MOORAGE_CONFIG_FILE"
"""Environment variable by which ``moorage serve`` passes its files to its workers; empty: no file."""

CONFIG_PARTS_VARIABLE: Final = "MOORAGE_CONFIG_PARTS"
"""Environment variable by which it passes the folders of parts; empty: none."""


@valueclass(frozen=True, slots=True)
class ConfigFiles:
    """Files, and folders whose files ``*.conf`` override the files."""

    files: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.directories)

    def __str__(self) -> str:
        return ", ".join(str(path) for path in (*self.files, *self.directories))

    def options(self) -> list[str]:
        """The options by which a command in any folder reads the same files."""
        named = [("--config-file", path) for path in self.files]
        named += [("--config-dir", path) for path in self.directories]
        return [word for option, path in named for word in (option, str(path.absolute()))]

    def handed(self) -> dict[str, str]:
        """The variables by which another process reads the same files."""
        return {
            CONFIG_FILE_VARIABLE: _joined(self.files),
            CONFIG_PARTS_VARIABLE: _joined(self.directories),
        }


NOTHING: Final = ConfigFiles()


def find_config_files(
    files: Sequence[Path] = (),
    directories: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    *,
    usual: bool = True,
) -> ConfigFiles:
    """The configuration files of a process, from its options ``files`` and ``directories``.

    Without ``files``, the file is the one in ``OS_PLACEMENT_CONFIG_DIR``, or else (if ``usual``) the first
    one in the usual places. Without ``directories``, the folder is the one beside the file (``FILE.d``).
    Without both, it may also be the first one in the usual places, as in Placement. Raises ConfigurationError
    if a named file or folder does not exist, or if a folder cannot be read.
    """
    environment = os.environ if environment is None else environment
    if not files and not directories and CONFIG_FILE_VARIABLE in environment:
        return ConfigFiles(
            _split(environment[CONFIG_FILE_VARIABLE]), _split(environment.get(CONFIG_PARTS_VARIABLE, ""))
        )
    named = environment.get(CONFIG_DIRECTORY_VARIABLE, "").strip()
    found: list[Path]
    if files:
        found = _existing(files, "--config-file")
    elif named:
        found = _existing([Path(named) / CONFIG_FILE_NAME], CONFIG_DIRECTORY_VARIABLE)
    else:
        found = usual_files() if usual else []
    if directories:
        parts = _folders(directories)
    else:
        parts = _beside(found) if files or named else []
        if usual and not files:
            parts = parts or usual_directories()
    for path in parts:
        if not os.access(path, os.R_OK | os.X_OK):
            raise ConfigurationError(f"The configuration directory {path} cannot be read.")
    return ConfigFiles(tuple(found), tuple(parts))


def usual_files() -> list[Path]:
    """``placement.conf`` in the first of the usual places that has it.

    These are ``~/.placement``, ``~``, ``/etc/placement`` and ``/etc``. Files named after the running program,
    which oslo.config would read as well, are ignored. They would give each command, and each WSGI server,
    another configuration.
    """
    return _once(cfg.find_config_files(project=PROJECT, prog=PROJECT))


def usual_directories() -> list[Path]:
    """``placement.conf.d`` in the first of the same places that has it."""
    return [path for path in _once(cfg.find_config_dirs(project=PROJECT, prog=PROJECT)) if path.is_dir()]


def closed_places() -> list[Path]:
    """Usual places that exist, but that this user may not read."""
    places = (Path(f"~/.{PROJECT}").expanduser(), Path("/etc") / PROJECT)
    return [place for place in places if place.is_dir() and not os.access(place, os.X_OK)]


def _once(names: Iterable[str]) -> list[Path]:
    return [Path(name) for name in dict.fromkeys(names)]


def _existing(files: Sequence[Path], named_by: str) -> list[Path]:
    for path in files:
        if not path.exists() or path.is_dir():
            raise ConfigurationError(f"The configuration file {path} ({named_by}) does not exist.")
    return list(files)


def _folders(directories: Sequence[Path]) -> list[Path]:
    for path in directories:
        if not path.is_dir():
            raise ConfigurationError(f"The configuration directory {path} (--config-dir) does not exist.")
    return list(directories)


def _beside(files: Iterable[Path]) -> list[Path]:
    return [parts for path in files if (parts := path.with_name(f"{path.name}.d")).is_dir()]


def _joined(paths: Iterable[Path]) -> str:
    return os.pathsep.join(str(path.absolute()) for path in paths)


def _split(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep) if part)

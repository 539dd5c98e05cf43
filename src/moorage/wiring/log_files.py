"""Finds out whether a deployer's logging file shows the service's log. The file is read, and not applied.

Source of the format: ``logging.config.fileConfig``, which oslo.log calls with the file of
``log_config_append``.
"""

from __future__ import annotations

import configparser
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from moorage.model.errors import ConfigurationError

OWN: Final = "moorage"
PLACEMENT: Final = "placement"
"""The logger of the reference, which deployers' files configure: Moorage's logger is treated as its child."""

ROOT: Final = "root"
NOWHERE: Final = "NullHandler"


def silence(path: Path) -> str:
    """Why a logging file shows no error of the service; empty if it shows them.

    Raises ConfigurationError if the file cannot be read or understood.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
        level, handlers = _reached(parser)
        shown = [name for name in handlers if _writes(parser, name)]
    except (OSError, ValueError, configparser.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ConfigurationError(f"[DEFAULT] log_config_append: {path} cannot be read: {reason}") from error
    if shown and level <= logging.ERROR:
        return ""
    return (
        f"[DEFAULT] log_config_append: {path} shows no log of the service. Give it a logger with "
        f"qualname = {PLACEMENT} (or {OWN}), level INFO, and a handler that writes somewhere."
    )


def _reached(parser: configparser.RawConfigParser) -> tuple[int, list[str]]:
    """The level of Moorage's loggers, and the handlers that their records reach."""
    known = {parser.get(section, "qualname", fallback=name): section for name, section in _loggers(parser)}
    root = f"logger_{ROOT}"
    root_level = _level(parser, root) or logging.WARNING
    root_handlers = _names(parser.get(root, "handlers", fallback=""))
    for name in (OWN, PLACEMENT):
        section = known.get(name)
        if section is not None:
            handlers = _names(parser.get(section, "handlers", fallback=""))
            if parser.getint(section, "propagate", fallback=1):
                handlers += root_handlers
            return _level(parser, section) or root_level, handlers
    return root_level, root_handlers


def _loggers(parser: configparser.RawConfigParser) -> Iterator[tuple[str, str]]:
    for name in _names(parser.get("loggers", "keys")):
        yield name, f"logger_{name}"


def _writes(parser: configparser.RawConfigParser, handler: str) -> bool:
    section = f"handler_{handler}"
    kind = parser.get(section, "class").rpartition(".")[2]
    return kind != NOWHERE and _level(parser, section) <= logging.ERROR


def _level(parser: configparser.RawConfigParser, section: str) -> int:
    """The level of a logger or handler; 0 if it has none."""
    text = parser.get(section, "level", fallback="").strip()
    levels = logging.getLevelNamesMapping() | {"": logging.NOTSET}
    if text.upper() not in levels:
        raise ValueError(f"{text} is not a level")
    return levels[text.upper()]


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]

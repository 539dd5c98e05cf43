"""Logs, with oslo.log's options and formats."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from oslo_config import cfg
from oslo_log import log

from moorage.telemetry.masking import mask_handlers
from moorage.wiring.log_files import OWN, PLACEMENT, silence

PRODUCT: Final = "moorage"

STATEMENTS_FROM: Final = 50
RESULTS_FROM: Final = 100
"""Values of ``connection_debug`` from which SQL statements, and their results, are logged."""

SQL_LOGGER: Final = "sqlalchemy.engine"

_log = logging.getLogger(__name__)


QUIET: Final = ("alembic=WARNING",)
"""Levels of libraries that log each look at the schema; default_log_levels may override them."""


def _options() -> Sequence[cfg.Opt]:
    """The options of oslo.log, from where it publishes them."""
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *QUIET])
    (published,) = metadata.entry_points(group="oslo.config.opts", name="oslo.log")
    return [option for _, options in published.load()() for option in options]


OPTIONS: Final = _options()


def set_up(conf: cfg.ConfigOpts, ineffective: Iterable[str] = (), sql: int = 0) -> None:
    """Send the records of this process where ``conf`` says, and log options without effect.

    ``sql`` is the value of ``connection_debug``. It changes the process's root logger, and is for
    processes that serve. Raises ConfigurationError for a logging file that cannot be understood.
    """
    silenced = silence(Path(conf.log_config_append)) if conf.log_config_append else ""
    log.setup(conf, PRODUCT, fix_eventlet=False)
    join(logging.getLogger(OWN), logging.getLogger(PLACEMENT))
    for logger in configured():
        mask_handlers(logger)
    logging.captureWarnings(True)
    if silenced:
        # The log would not show this text.
        print(silenced, file=sys.stderr, flush=True)  # noqa: T201
    if sql >= STATEMENTS_FROM:
        level = logging.DEBUG if sql >= RESULTS_FROM else logging.INFO
        logging.getLogger(SQL_LOGGER).setLevel(level)
    if conf.log_options:
        conf.log_opt_values(_log, logging.DEBUG)
    for line in ineffective:
        _log.warning("%s", line)


def join(ours: logging.Logger, theirs: logging.Logger) -> None:
    """Send records of ``ours`` where those of ``theirs`` go, unless the configuration names ``ours``.

    Deployers' files configure the logger of Placement, and often discard all others.
    """
    if not ours.handlers and ours.level == logging.NOTSET and ours.propagate:
        ours.parent = theirs


def configured() -> list[logging.Logger]:
    """All loggers that have handlers, the root first."""
    root = logging.getLogger()
    named = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    return [root, *(logger for logger in named if logger.handlers)]

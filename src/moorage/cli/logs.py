"""Logs: oslo.log's options and formats, as operators of this field have them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Final

from oslo_config import cfg
from oslo_log import log

from moorage.cli.masking import mask_handlers

PRODUCT: Final = "moorage"

STATEMENTS_FROM: Final = 50
RESULTS_FROM: Final = 100
"""Values of ``connection_debug`` from which SQL statements, and their results, are logged."""

SQL_LOGGER: Final = "sqlalchemy.engine"

_log = logging.getLogger(__name__)


QUIET: Final = ("alembic=WARNING",)
"""Libraries that tell of each look at the schema, and shall not unless default_log_levels says so."""


def _options() -> Sequence[cfg.Opt]:
    """The options of oslo.log, from where it publishes them."""
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *QUIET])
    (published,) = metadata.entry_points(group="oslo.config.opts", name="oslo.log")
    return [option for _, options in published.load()() for option in options]


OPTIONS: Final = _options()


def set_up(conf: cfg.ConfigOpts, ineffective: Iterable[str] = (), sql: int = 0) -> None:
    """Send the records of this process where ``conf`` says, and tell of options that do nothing.

    ``sql`` is the value of ``connection_debug``. It changes the process's root logger, and is for
    processes that serve.
    """
    log.setup(conf, PRODUCT, fix_eventlet=False)
    mask_handlers(logging.getLogger())
    logging.captureWarnings(True)
    if sql >= STATEMENTS_FROM:
        level = logging.DEBUG if sql >= RESULTS_FROM else logging.INFO
        logging.getLogger(SQL_LOGGER).setLevel(level)
    if conf.log_options:
        conf.log_opt_values(_log, logging.DEBUG)
    for line in ineffective:
        _log.warning("%s", line)

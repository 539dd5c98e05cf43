"""``moorage config``: a sample of placement.conf, and a check of a given one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from oslo_config import cfg, generator

from moorage.cli.database import chosen, database_options, tell_database
from moorage.cli.shared.groups import Commands
from moorage.cli.shared.output import format_options, show
from moorage.cli.shared.show import lines
from moorage.model.errors import ConfigurationError
from moorage.wiring.settings import resolve, without_password

NAMESPACES: Final = (
    "moorage",
    "keystonemiddleware.auth_token",
    "oslo.log",
    "oslo.middleware.cors",
    "oslo.middleware.http_proxy_to_wsgi",
    "oslo.policy",
)
"""Namespaces of the options in a placement.conf, as their distributions publish them."""


@click.group(cls=Commands, short_help="Write a sample placement.conf, or check one.")
def config() -> None:
    """Write a sample placement.conf, or check one."""


@config.command(short_help="Write a placement.conf with every option, commented out.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it. Default: the terminal.",
)
def sample(output: Path | None) -> None:
    """Write a placement.conf with every option, commented out, with its help and default.

    Packagers get the same from oslo-config-generator with the namespace moorage.
    """
    if output is not None and output.exists():
        raise ConfigurationError(f"{output} exists. Nothing was written.")
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf([word for name in NAMESPACES for word in ("--namespace", name)], default_config_files=[])
    if output is None:
        generator.generate(conf, sys.stdout)
        return
    with output.open("w", encoding="utf-8") as file:
        generator.generate(conf, file)


@config.command(short_help="Check the configuration.")
@format_options
@database_options
def check(config_file: Path | None, database: str | None, data_dir: Path | None) -> None:
    """Read the configuration as moorage serve would, and report errors and options without effect.

    Exit status 1 if the service cannot start with it; all reasons are listed. The database is not
    contacted. Options that are accepted without effect, and unknown names, are listed as well.
    """
    resolved = resolve(chosen(config_file, database, data_dir), serving=True)
    tell_database(resolved)
    notes = list(resolved.settings.remarks)
    url = without_password(resolved.settings.store.url)
    verdict = "The configuration can be used."
    show({"database": url, "usable": True, "notes": notes}, lambda: lines([*notes, verdict]))

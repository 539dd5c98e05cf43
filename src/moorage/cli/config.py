"""``moorage config``: a sample of placement.conf, and what a given one comes to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from oslo_config import cfg, generator

from moorage.cli import options
from moorage.cli.common import chosen, database_options, without_password
from moorage.cli.console import stdout
from moorage.cli.wiring import resolve
from moorage.model.errors import ConfigurationError

NAMESPACES: Final = (
    "moorage",
    "keystonemiddleware.auth_token",
    "oslo.log",
    "oslo.middleware.cors",
    "oslo.middleware.http_proxy_to_wsgi",
    "oslo.policy",
)
"""Whose options a placement.conf has, as their distributions publish them."""


@click.group(short_help="Write a sample placement.conf, or check one.")
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


@config.command(short_help="Read the configuration and tell what is wrong or idle in it.")
@database_options
def check(config_file: Path | None, database: str | None, data_dir: Path) -> None:
    """Read the configuration as moorage serve would, and tell what is wrong or idle in it.

    Exit status 1 if it cannot work. The database is not touched. Options that are accepted and
    have no effect are listed with the reason.
    """
    settings = resolve(chosen(config_file, database, data_dir), serving=True).settings
    for line in options.ineffective(settings.conf):
        stdout().print(line, markup=False)
    stdout().print(f"Database: {without_password(settings.store.url)}", markup=False)
    stdout().print("The configuration can be used.", markup=False)

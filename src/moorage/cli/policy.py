"""``moorage policy``: who may do what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from moorage.api.policy_sample import sample as sample_text
from moorage.auth import rules
from moorage.auth.permissions import permission
from moorage.auth.policy import OsloPolicy, RuleBook
from moorage.cli.console import aligned, stderr, stdout
from moorage.cli.options import config_directories, config_files_of_process, read_options, told_config_file


@click.group(short_help="Show who may do what, and a sample of overrides.")
def policy() -> None:
    """Show who may do what, and a sample of overrides.

    The rules are those of OpenStack Placement. An operator overrides them in the file that
    policy_file in [oslo_policy] names, and in the files of policy_dirs.
    """


@policy.command("list", short_help="Show the rules that are in force.")
@click.option(
    "--config-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A placement.conf. Default: the one in OS_PLACEMENT_CONFIG_DIR or in the usual places.",
)
@click.option(
    "--config-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="A directory whose files *.conf count, in the order of their names, after the file.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="Show what somebody with this role may do. May be repeated, for somebody with several roles.",
)
@click.option("--system", is_flag=True, help="With --role: for a token of the system, not of a project.")
def list_(config_file: Path | None, config_dir: Path | None, roles: Sequence[str], system: bool) -> None:
    """Show the rules that are in force, as the configuration and the policy files say now.

    Rules of the files that Moorage does not know are named on stderr: they have no effect, unless
    other rules refer to them.
    """
    if system and not roles:
        raise click.UsageError("--system says nothing without --role.")
    book = read_policy(config_file, config_dir).book()
    rows = [("Rule", "Demands", "Set by", *(["Allowed"] if roles else []))]
    for name in known_rules():
        source = "policy file" if name in book.overridden else "default"
        allowed = [permission(book, name, roles, of_system=system).value] if roles else []
        rows.append((name, book.check(name), source, *allowed))
    for line in aligned(rows):
        stdout().print(line, markup=False)
    tell_of_unknown_rules(book)


@policy.command(short_help="Print a policy.yaml with all rules, commented out.")
def sample() -> None:
    """Print a policy.yaml with all rules as they are by default, commented out."""
    click.echo(sample_text(), nl=False)


def read_policy(config_file: Path | None, config_directory: Path | None) -> OsloPolicy:
    """The policy of a configuration file, or of the process. Raises ConfigurationError."""
    told = told_config_file(config_file, {})
    files = [told] if told else config_files_of_process(os.environ)
    usual = config_directory is None and told is None
    return OsloPolicy(
        read_options(files, config_directories=config_directories(config_directory, os.environ, usual=usual))
    )


def known_rules() -> list[str]:
    """Names of all rules, those that others refer to first."""
    return [*(base.name for base in rules.BASE_RULES), *rules.DESCRIPTIONS]


def tell_of_unknown_rules(book: RuleBook) -> None:
    """Name the rules of the files that nothing asks for."""
    for name in sorted(book.overridden.keys() - set(known_rules())):
        stderr().print(f"Unknown rule in a policy file: {name}", markup=False)

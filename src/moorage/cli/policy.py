"""``moorage policy``: the rules of access."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from moorage.api.policy_sample import sample as sample_text
from moorage.auth.permissions import permission
from moorage.auth.policy import RuleBook
from moorage.cli.shared.console import stderr
from moorage.cli.shared.groups import Commands
from moorage.cli.shared.output import format_options, show
from moorage.cli.shared.show import table
from moorage.wiring.policy import known_rules, read_policy


@click.group(cls=Commands, short_help="Show the rules of access, and a sample of overrides.")
def policy() -> None:
    """Show the rules of access, and a sample of overrides.

    The rules are those of OpenStack Placement; those that begin with "moorage:" guard the native API. An
    operator overrides them in the file that policy_file in [oslo_policy] names, and in the files of
    policy_dirs.
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
    help="A directory whose files *.conf are read after the file, in the order of their names.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="Show what a token with this role may do. Repeat it for a token with several roles.",
)
@click.option("--system", is_flag=True, help="With --role: for a token of the system, not of a project.")
@format_options
def list_(config_file: Path | None, config_dir: Path | None, roles: Sequence[str], system: bool) -> None:
    """Show the rules that are in force with the present configuration and policy files.

    Rules of the files that Moorage does not know are named on stderr: they have no effect, unless
    other rules refer to them.
    """
    if system and not roles:
        raise click.UsageError("--system needs --role.")
    book = read_policy(config_file, config_dir).book()
    columns = ("rule", "demands", "set by", *(["allowed"] if roles else []))
    rows = []
    for name in known_rules():
        source = "policy file" if name in book.overridden else "default"
        allowed = [permission(book, name, roles, of_system=system).value] if roles else []
        rows.append((name, book.check(name), source, *allowed))
    keys = [name.replace(" ", "_") for name in columns]
    data = [dict(zip(keys, row, strict=True)) for row in rows]
    show(data, lambda: table(columns, rows))
    tell_of_unknown_rules(book)


@policy.command(short_help="Print a policy.yaml with all rules, commented out.")
def sample() -> None:
    """Print a policy.yaml with all default rules, commented out."""
    click.echo(sample_text(), nl=False)


def tell_of_unknown_rules(book: RuleBook) -> None:
    """Print the rules of the files that no operation uses."""
    for name in sorted(book.overridden.keys() - set(known_rules())):
        stderr().print(f"Unknown rule in a policy file: {name}", markup=False)

"""``moorage verify``: whether account, change log and index are as they must be."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
from rich.table import Table

from moorage.cli.common import chosen, database_options, described, stderr, stdout, without_password
from moorage.cli.wiring import opened_store, resolve
from moorage.model.errors import ConfigurationError
from moorage.model.findings import Check, Verification
from moorage.service.verification import verify as verify_account

EXIT_DIFFERENT: Final = 1
EXIT_NOT_VERIFIED: Final = 2

SHOWN_FINDINGS: Final = 20
"""Findings shown per check unless --all is said: one cause often has thousands of effects."""

FOLLOW_SECONDS: Final = 1.0
"""How long the index follows the change log by default: some hundreds of writes under load."""


class NotVerifiedError(ConfigurationError):
    """Whatever it was: there is no verdict."""

    template = "Not verified: {reason}"
    exit_status = EXIT_NOT_VERIFIED


@click.command(short_help="Verify the account, the change log and the index.")
@click.option(
    "--follow",
    type=click.FloatRange(min=0),
    default=FOLLOW_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long an index follows the writes of running services before it is compared.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything that was found, as JSON.")
@click.option("--all", "show_all", is_flag=True, help=f"Show more than {SHOWN_FINDINGS} findings per check.")
@database_options
def verify(
    follow: float,
    as_json: bool,
    show_all: bool,
    config_file: Path | None,
    database: str | None,
    data_dir: Path,
) -> None:
    """Verify the account, the change log and the index, while the service runs.

    Everything is read in one snapshot of the database, and nothing is written. Usage, tree roots and
    what an index must hold are worked out again from the plain rows; an index that was built first
    and followed the change log for some seconds must be the same as one that is built anew.

    Exit status 0 if all is as it must be (there may be warnings), 1 if there is a difference, 2 if it
    could not be verified.
    """
    try:
        resolved = resolve(chosen(config_file, database, data_dir))
        with opened_store(resolved.settings) as store, stderr().status("Verifying ..."):
            store.wait_until_reachable()
            store.check_schema()
            found = verify_account(store, follow)
    except Exception as error:
        raise NotVerifiedError(described(error)) from error
    if as_json:
        stdout().print(json.dumps(as_data(found), indent=2), markup=False)
    else:
        show(found, without_password(resolved.settings.store.url), most=None if show_all else SHOWN_FINDINGS)
    if found.differences:
        sys.exit(EXIT_DIFFERENT)


def as_data(found: Verification) -> dict[str, object]:
    """The verification as JSON data."""
    return {
        "revision": found.revision,
        "followed": found.followed,
        "differences": found.differences,
        "warnings": found.warnings,
        "checks": [asdict(check) for check in found.checks],
    }


def show(found: Verification, where: str, *, most: int | None) -> None:
    """A line per check, then the findings, at most ``most`` of each check, then the sum."""
    console = stdout()
    console.print(f"Revision {found.revision} of {where}", markup=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    for check in found.checks:
        table.add_row(check.name, f"{check.examined} {check.of}", _verdict(check))
    console.print(table)
    for check in found.checks:
        shown = check.findings[:most]
        for finding in shown:
            kind = "warning" if finding.warning else "DIFFERENCE"
            console.print(f"{kind}: {check.name}: {finding}", markup=False)
        if len(shown) < len(check.findings):
            console.print(
                f"... {check.name}: {len(check.findings) - len(shown)} more (--all shows them)", markup=False
            )
    console.print(_summary(found), markup=False)


def _verdict(check: Check) -> str:
    warnings = sum(finding.warning for finding in check.findings)
    differences = len(check.findings) - warnings
    parts = [_counted(differences, "difference")] if differences else []
    parts += [_counted(warnings, "warning")] if warnings else []
    return ", ".join(parts) or "as it must be"


def _summary(found: Verification) -> str:
    followed = f"The index followed {_counted(found.followed, 'write')} meanwhile."
    verdict = _counted(found.differences, "difference") if found.differences else "No difference"
    if found.warnings:
        verdict += f", {_counted(found.warnings, 'warning')}"
    return f"{verdict}. {followed}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""``moorage verify``: checks of the account, change log, journal and index."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from moorage.cli.database import database_of, database_options
from moorage.cli.shared import output
from moorage.cli.shared.console import described, stderr, stdout
from moorage.cli.shared.exits import NO, REFUSED
from moorage.cli.shared.output import format_options
from moorage.cli.shared.show import table
from moorage.model.errors import ConfigurationError
from moorage.model.findings import Check, Verification
from moorage.service.verification import verify as verify_account
from moorage.wiring.parts import opened_store
from moorage.wiring.settings import without_password

SHOWN_FINDINGS: Final = 20
"""Findings shown per check without --all: one cause often has thousands of effects."""

FOLLOW_SECONDS: Final = 1.0
"""How long the index follows the change log by default: some hundreds of writes under load."""


class NotVerifiedError(ConfigurationError):
    """The verification failed for some reason, so there is no verdict."""

    template = "Not verified: {reason}"
    exit_status = REFUSED


@click.command(short_help="Verify the account, change log, journal and index.")
@click.option(
    "--follow",
    type=click.FloatRange(min=0),
    default=FOLLOW_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long an index follows the writes of running services before it is compared.",
)
@format_options
@click.option("--all", "show_all", is_flag=True, help=f"Show more than {SHOWN_FINDINGS} findings per check.")
@database_options
def verify(
    follow: float,
    show_all: bool,
    config_file: Path | None,
    database: str | None,
    data_dir: Path | None,
) -> None:
    """Verify the account, change log, journal and index, while the service runs.

    Everything is read in one snapshot of the database, and nothing is written. Usage, tree roots and
    the expected index are computed again from the rows. An index that was built first and followed the
    change log for some seconds must equal one that is built anew.

    Exit status 0 if all checks pass (there may be warnings), 3 if there is a difference, 1 if the
    verification failed.
    """
    try:
        resolved = database_of(config_file, database, data_dir)
        with opened_store(resolved.settings, looks_only=True) as store, stderr().status("Verifying ..."):
            store.wait_until_reachable()
            store.check_schema()
            found = verify_account(store, follow)
    except Exception as error:
        raise NotVerifiedError(described(error)) from error
    where, most = without_password(resolved.settings.store.url), None if show_all else SHOWN_FINDINGS
    output.show(as_data(found), lambda: show(found, where, most=most))
    if found.differences:
        sys.exit(NO)


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
    """Print a line per check, then the findings (at most ``most`` of each check), then the summary."""
    console = stdout()
    console.print(f"Revision {found.revision} of {where}", markup=False)
    table(
        ("check", "examined", "verdict"),
        [(check.name, f"{check.examined} {check.of}", _verdict(check)) for check in found.checks],
    )
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

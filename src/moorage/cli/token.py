"""``moorage token``: Moorage's own tokens, for services without Keystone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import click

from moorage.auth.tokens import MEMBER, OF_A_PROJECT, ROLES, id_of, issue
from moorage.cli.database import database_of, database_options
from moorage.cli.shared import output
from moorage.cli.shared.console import stderr
from moorage.cli.shared.groups import Commands
from moorage.cli.shared.output import format_options
from moorage.cli.shared.show import lines, table
from moorage.model.errors import TokenNotFoundError
from moorage.model.tokens import TokenRecord
from moorage.service.tokens import Tokens
from moorage.wiring import access
from moorage.wiring.options import API_GROUP, TOKEN, is_set
from moorage.wiring.parts import opened_store
from moorage.wiring.policy import helps_itself
from moorage.wiring.settings import Resolved

SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}

MOST_CHARACTERS: Final = 255
"""Most characters of a name or a project, as everywhere in the database."""

_LENGTH: Final = re.compile(r"(?P<number>[1-9][0-9]{0,5})(?P<unit>[mhdw])")


def expiry(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Seconds since 1970 from a length of time (``90d``) or a date or time in UTC."""
    if value is None:
        return None
    now = int(time.time())
    found = _LENGTH.fullmatch(value)
    if found:
        return now + int(found["number"]) * SECONDS[found["unit"]]
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a length of time (30m, 12h, 90d, 52w) nor a date (2027-01-31)."
        ) from None
    until = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if until <= now:
        raise click.BadParameter(f"{value} is in the past.")
    return until


def words(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Printable text that fits into the database's column."""
    if value is not None and not (0 < len(value) <= MOST_CHARACTERS and value.isprintable()):
        raise click.BadParameter(f"it must have 1 to {MOST_CHARACTERS} printable characters.")
    return value


@click.group(cls=Commands, short_help="Create, list and revoke tokens.")
def token() -> None:
    """Create, list and revoke tokens.

    They authenticate clients without Keystone: set auth_strategy = token in [api]. A client sends
    its token in the header X-Auth-Token.
    """


@token.command(short_help="Create a token; it is shown once.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="Role of the token.")
@click.option(
    "--project",
    callback=words,
    metavar="PROJECT",
    help="Id of the token's project; a reader and a member need one.",
)
@click.option(
    "--name", callback=words, metavar="NAME", help="Name of the token's user, also in the change log."
)
@click.option(
    "--expires",
    callback=expiry,
    metavar="WHEN",
    help="When it expires: 30m, 12h, 90d, 52w from now, or 2027-01-31 (UTC). Default: never.",
)
@format_options
@database_options
def create(role: str, project: str | None, name: str | None, expires: int | None, **database: Any) -> None:
    """Create a token.

    The token goes to stdout and is shown only this once: the database keeps only its digest. admin and
    service have the rights of these roles; a reader may see the usages of its project. With self_service in
    [moorage], a member may also search, and claim for its project.
    """
    if role in OF_A_PROJECT and project is None:
        raise click.UsageError(f"A {role} needs a project: name it with --project.")
    with _opened(database, creates=True) as (tokens, resolved):
        text, record = issue(role, int(time.time()), name=name, project_id=project, expires_at=expires)
        tokens.add(record)
    output.show({"token": text, **_object(record, time.time())}, lambda: click.echo(text))
    if output.chosen_format() != output.TABLE:
        return
    ends = "" if expires is None else f", expires {_shown(expires)}"
    console = stderr()
    console.print(
        f"Token {record.id} for {record.name}, role {role}{ends}. It is not shown again.", markup=False
    )
    conf = resolved.settings.conf
    if role == MEMBER and not helps_itself(conf):
        console.print(
            "Without self_service in [moorage] a member may do no more than a reader. In the configuration "
            "of this command it is off.",
            markup=False,
        )
    if access.strategy(conf) != TOKEN:
        here = access.strategy(conf) if is_set(conf, API_GROUP, "auth_strategy") else "not set"
        console.print(
            f"A service accepts it if its configuration sets auth_strategy = {TOKEN} in [api]. In the "
            f"configuration of this command it is {here}.",
            markup=False,
        )


@token.command("list", short_help="Show all tokens, without their secrets.")
@format_options
@database_options
def list_(**database: Any) -> None:
    """Show all tokens, without their secrets. Times are in UTC."""
    with _opened(database, looks_only=True) as (tokens, _):
        records = tokens.all()
    now = time.time()
    rows = []
    for record in records:
        expires = "never" if record.expires_at is None else _shown(record.expires_at)
        rows.append(
            (
                *(record.id, record.name, record.role, record.project_id or "-"),
                *(_shown(record.created_at), expires, _state(record, now)),
            )
        )
    columns = ("id", "name", "role", "project", "created", "expires", "state")
    output.show(
        [_object(record, now) for record in records],
        lambda: table(columns, sorted(rows, key=lambda row: (row[1], row[0])), extras=("created", "project")),
    )


@token.command(short_help="Revoke tokens: no process accepts them any more.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@format_options
@database_options
def revoke(ids: Sequence[str], **database: Any) -> None:
    """Revoke tokens, by their ids or by the tokens themselves.

    When this command ends, no process of any host accepts them any more.
    """
    unknown, revoked = [], []
    with _opened(database) as (tokens, _):
        for given in ids:
            token_id = id_of(given)
            if tokens.revoke(token_id, int(time.time())):
                revoked.append(token_id)
            else:
                unknown.append(token_id)
    output.show({"revoked": revoked}, lambda: lines(f"Revoked: {each}" for each in revoked))
    if unknown:
        raise TokenNotFoundError(", ".join(unknown))


@contextmanager
def _opened(
    database: dict[str, Any], *, creates: bool = False, looks_only: bool = False
) -> Iterator[tuple[Tokens, Resolved]]:
    """``creates``: make a missing schema, because the first token may precede the service."""
    resolved = database_of(**database)
    with opened_store(resolved.settings, looks_only=looks_only) as store:
        if creates and resolved.embedded:
            store.migrate()
        store.patiently(store.check_schema)
        yield Tokens(store), resolved


def _state(record: TokenRecord, now: float) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "valid" if record.is_valid(now) else "expired"


def _shown(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _object(record: TokenRecord, now: float) -> dict[str, object]:
    shown: dict[str, object] = asdict(record)
    del shown["digest"]
    for name in ("created_at", "expires_at", "revoked_at"):
        moment = getattr(record, name)
        shown[name] = None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
    return {**shown, "state": _state(record, now)}

"""``moorage token``: tokens for those who have no Keystone."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import click

from moorage.auth.tokens import ROLES, id_of, issue
from moorage.cli import access
from moorage.cli.common import chosen, database_options
from moorage.cli.console import aligned, stderr, stdout
from moorage.cli.options import API_GROUP, TOKEN, is_set
from moorage.cli.wiring import Resolved, opened_store, resolve
from moorage.model.errors import TokenNotFoundError
from moorage.model.tokens import TokenRecord
from moorage.service.tokens import Tokens

SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}

MOST_CHARACTERS: Final = 255
"""Of a name or a project, as everywhere in the database."""

_LENGTH: Final = re.compile(r"(?P<number>[1-9][0-9]{0,5})(?P<unit>[mhdw])")


def expiry(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Seconds since 1970, of a length of time from now (``90d``) or a date or time in UTC."""
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
        raise click.BadParameter(f"{value} is over already.")
    return until


def words(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Text that the database has room for, and that can be shown in one line."""
    if value is not None and not (0 < len(value) <= MOST_CHARACTERS and value.isprintable()):
        raise click.BadParameter(f"it takes 1 to {MOST_CHARACTERS} printable characters.")
    return value


@click.group(short_help="Give out tokens, list them, take them back.")
def token() -> None:
    """Give out tokens, list them, take them back.

    They let clients in where there is no Keystone: set auth_strategy = token in [api]. A client sends
    its token in the header X-Auth-Token.
    """


@token.command(short_help="Give out a token; it is shown once.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it is good for.")
@click.option("--project", callback=words, metavar="PROJECT", help="Id of its project; a reader needs one.")
@click.option(
    "--name", callback=words, metavar="NAME", help="Who has it; the change log calls its writes by this name."
)
@click.option(
    "--expires",
    callback=expiry,
    metavar="WHEN",
    help="When it ends: 30m, 12h, 90d, 52w from now, or 2027-01-31 (UTC). Without this it does not end.",
)
@database_options
def create(role: str, project: str | None, name: str | None, expires: int | None, **database: Any) -> None:
    """Give out a token.

    It goes to stdout and is shown this once: only its digest is kept. admin and service may do what
    these roles may by default; a reader may see the usages of its project.
    """
    if role == "reader" and project is None:
        raise click.UsageError("A reader sees what belongs to a project: say which with --project.")
    with _opened(database) as (tokens, resolved):
        text, record = issue(role, int(time.time()), name=name, project_id=project, expires_at=expires)
        tokens.add(record)
    click.echo(text)
    ends = "" if expires is None else f", ends {_shown(expires)}"
    console = stderr()
    console.print(
        f"Token {record.id} for {record.name}, role {role}{ends}. It is not shown again.", markup=False
    )
    conf = resolved.settings.conf
    if access.strategy(conf) != TOKEN:
        here = access.strategy(conf) if is_set(conf, API_GROUP, "auth_strategy") else "not set"
        console.print(f"Tokens count where [api] auth_strategy is {TOKEN}; here it is {here}.", markup=False)


@token.command("list", short_help="Show all tokens, without their secrets.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, times in UTC.")
@database_options
def list_(as_json: bool, **database: Any) -> None:
    """Show all tokens that were given out, without their secrets."""
    with _opened(database) as (tokens, _):
        records = tokens.all()
    now = time.time()
    if as_json:
        click.echo(json.dumps([_object(record, now) for record in records], indent=2))
        return
    rows = [("Id", "Name", "Role", "Project", "Created", "Expires", "State")]
    for record in records:
        expires = "never" if record.expires_at is None else _shown(record.expires_at)
        rows.append(
            (
                *(record.id, record.name, record.role, record.project_id or "-"),
                *(_shown(record.created_at), expires, _state(record, now)),
            )
        )
    for line in aligned(rows):
        stdout().print(line, markup=False)


@token.command(short_help="Take tokens back; no process lets them in any more.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@database_options
def revoke(ids: Sequence[str], **database: Any) -> None:
    """Take tokens back, by their ids or by the tokens themselves.

    When this ends, no process of any host lets them in any more.
    """
    unknown = []
    with _opened(database) as (tokens, _):
        for given in ids:
            token_id = id_of(given)
            if tokens.revoke(token_id, int(time.time())):
                stdout().print(f"Revoked: {token_id}", markup=False)
            else:
                unknown.append(token_id)
    if unknown:
        raise TokenNotFoundError(", ".join(unknown))


@contextmanager
def _opened(database: dict[str, Any]) -> Iterator[tuple[Tokens, Resolved]]:
    resolved = resolve(chosen(**database))
    with opened_store(resolved.settings) as store:
        store.wait_until_reachable()
        if resolved.embedded:
            store.migrate()
        store.check_schema()
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

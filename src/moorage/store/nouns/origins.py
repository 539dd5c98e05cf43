"""What native claims asked for, and the leases that they hang on. Both go with the consumer.

Whether a consumer has some is read together with what decides claims (``nouns.consumers``). So a write needs
a statement for it only where there is something to write or to delete.
"""

from __future__ import annotations

from typing import ClassVar, Final

import orjson
import sqlalchemy as sa

from moorage.model.placing import ClaimOrigin
from moorage.rules.state import State
from moorage.store.nouns.noun import AuditRows, Noun
from moorage.store.sql.statements import Insertion, Plain, Planned, Selection, fetched
from moorage.store.tables import claims

NEW_ORIGINS: Final = Insertion(claims, "consumer_uuid", "ask", "profile", "labels", "decided_at", "lease")
GONE_ORIGINS: Final = Selection(claims.delete(), claims.c.consumer_uuid)
CHANGED_ORIGIN: Final = Plain(claims.update().where(claims.c.consumer_uuid == sa.bindparam("consumer")))
"""A lease may lose its claims meanwhile: what does not change of a row must not be written."""


class Origins(Noun):
    """See the module. The transaction plans its statements with those of consumers."""

    audited: ClassVar[dict[str, AuditRows]] = {
        "origins": lambda connection: {
            row.consumer_uuid: row.lease
            for row in fetched(connection, sa.select(claims.c.consumer_uuid, claims.c.lease))
        }
    }


ORIGINS: Final = Origins()


def plan_origins(before: State, after: State) -> list[Planned]:
    """Plan to write the origins and leases that differ. Those of gone consumers are None in ``after``.

    A row that is there stays, and keeps its lease, if the claim hangs on one.
    """
    found, attached = before.origins, before.attached
    gone: list[str] = []
    rows: list[tuple[object, ...]] = []
    written: list[dict[str, object]] = []
    hung: list[dict[str, object]] = []
    for consumer, origin in after.origins.items():
        was = found.get(consumer)
        lease = after.attached.get(consumer)
        if was is not None and lease is not None and lease == attached.get(consumer):
            if isinstance(origin, ClaimOrigin):
                written.append({"consumer": consumer, **_parts(origin)})
            continue
        if origin is not was:
            if was is not None:
                gone.append(consumer)
            if isinstance(origin, ClaimOrigin):
                rows.append((consumer, *_parts(origin).values(), lease))
        elif lease != attached.get(consumer):
            hung.append({"consumer": consumer, "lease": lease})
    planned: list[Planned] = []
    if gone:
        planned.append((GONE_ORIGINS, gone))
    if rows:
        planned.append((NEW_ORIGINS, rows))
    planned += [(CHANGED_ORIGIN, each) for each in (written, hung) if each]
    return planned


def _parts(origin: ClaimOrigin) -> dict[str, object]:
    return {
        "ask": origin.ask,
        "profile": origin.profile,
        "labels": _labels(origin),
        "decided_at": origin.decided_at,
    }


def _labels(origin: ClaimOrigin) -> str | None:
    return orjson.dumps(origin.labels, option=orjson.OPT_SORT_KEYS).decode() if origin.labels else None


def origin_of(connection: sa.Connection, consumer: str) -> tuple[ClaimOrigin | None, str | None]:
    """What a consumer's claim asked for, None if that is not known, and the lease that it hangs on."""
    row = connection.execute(sa.select(claims).where(claims.c.consumer_uuid == consumer)).first()
    if row is None or row.consumer_uuid != consumer:
        return None, None
    labels = orjson.loads(row.labels) if row.labels else {}
    return ClaimOrigin(row.ask, row.profile, labels, row.decided_at), row.lease

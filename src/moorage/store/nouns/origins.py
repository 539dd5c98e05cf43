"""What native claims asked for. It is written with the claim, and goes with its consumer.

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
from moorage.store.sql.statements import Insertion, Planned, Selection, fetched
from moorage.store.tables import claims

NEW_ORIGINS: Final = Insertion(claims, "consumer_uuid", "ask", "profile", "labels", "decided_at")
GONE_ORIGINS: Final = Selection(claims.delete(), claims.c.consumer_uuid)


class Origins(Noun):
    """See the module. The transaction plans its statements with those of consumers."""

    audited: ClassVar[dict[str, AuditRows]] = {
        "origins": lambda connection: frozenset(
            row.consumer_uuid for row in fetched(connection, sa.select(claims.c.consumer_uuid))
        )
    }


ORIGINS: Final = Origins()


def plan_origins(before: State, after: State) -> list[Planned]:
    """Plan to write the origins that differ. Those of consumers that are gone are None in ``after``."""
    found = before.origins
    changed = {
        consumer: origin for consumer, origin in after.origins.items() if origin is not found.get(consumer)
    }
    planned: list[Planned] = []
    gone = [consumer for consumer in changed if found.get(consumer) is not None]
    if gone:
        planned.append((GONE_ORIGINS, gone))
    rows = [
        (consumer, origin.ask, origin.profile, _labels(origin), origin.decided_at)
        for consumer, origin in changed.items()
        if isinstance(origin, ClaimOrigin)
    ]
    if rows:
        planned.append((NEW_ORIGINS, rows))
    return planned


def _labels(origin: ClaimOrigin) -> str | None:
    return orjson.dumps(origin.labels, option=orjson.OPT_SORT_KEYS).decode() if origin.labels else None


def origin_of(connection: sa.Connection, consumer: str) -> ClaimOrigin | None:
    """What a consumer's claim asked for; None if that is not known."""
    row = connection.execute(sa.select(claims).where(claims.c.consumer_uuid == consumer)).first()
    if row is None or row.consumer_uuid != consumer:
        return None
    labels = orjson.loads(row.labels) if row.labels else {}
    return ClaimOrigin(row.ask, row.profile, labels, row.decided_at)

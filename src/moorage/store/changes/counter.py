"""The row that counts all writes."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from moorage.store.sql.literals import number
from moorage.store.tables import revisions

THE_ROW: Final = 1
"""Id of the only row of the revision table."""

CURRENT: Final = sa.select(revisions.c.revision).where(revisions.c.id == number(THE_ROW))
"""Number of the last committed write."""

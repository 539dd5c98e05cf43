"""Constants as text in a statement, where a parameter would only cost time."""

from __future__ import annotations

import sqlalchemy as sa


def number(value: int) -> sa.ColumnElement[int]:
    """An integer."""
    return sa.literal_column(str(value), sa.Integer)

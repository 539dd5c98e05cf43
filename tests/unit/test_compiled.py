from __future__ import annotations

from typing import Any

import sqlalchemy as sa

QUERY = sa.select(sa.literal(1).label("one"))


def compiled_by(engine: sa.Engine) -> Any:
    """What the engine has used for the query."""
    with engine.connect() as connection:
        return connection.execute(QUERY).context.compiled


def test_engines_of_one_kind_share_what_is_compiled_and_others_do_not() -> None:
    first, second = (sa.create_engine("sqlite://") for _ in range(2))
    other = sa.create_engine("sqlite://", label_length=6)
    assert compiled_by(first) is compiled_by(second)
    assert compiled_by(other) is not compiled_by(first)


def test_a_server_of_another_version_is_of_another_kind() -> None:
    engine = sa.create_engine("sqlite://")
    before = compiled_by(engine)
    engine.dialect.server_version_info = (3, 7)
    assert compiled_by(engine) is not before

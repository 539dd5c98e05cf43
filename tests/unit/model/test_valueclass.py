from __future__ import annotations

import inspect
import sys
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from moorage.model import commands, findings, requests, tokens, values
from moorage.model.valueclass import valueclass
from moorage.rules import state

CONFIGURATION = Path(__file__).parents[3] / "pyproject.toml"

CHANGING = (state.AccountParts, state.State, state._Decided, state.Changes)

VALUES: list[Any] = [
    kind
    for module in (commands, findings, requests, tokens, values, state)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if is_dataclass(kind) and kind.__module__ == module.__name__ and kind not in CHANGING
]


@valueclass(frozen=True, slots=True)
class Berth:
    number: int
    ship: str | None = None


@dataclass(frozen=True, slots=True)
class FrozenBerth:
    number: int
    ship: str | None = None


@valueclass(frozen=True, eq=False)
class Buoy:
    colour: str


def test_it_is_made_compared_and_hashed_like_a_frozen_dataclass() -> None:
    assert Berth(3) == Berth(3, None) != Berth(4)
    assert hash(Berth(3, "Argo")) == hash(FrozenBerth(3, "Argo"))
    assert repr(Berth(3)) == "Berth(number=3, ship=None)"
    assert not hasattr(Berth(3), "__dict__")


def test_without_equality_each_is_itself() -> None:
    buoy = Buoy("red")
    assert buoy == buoy != Buoy("red")
    assert len({buoy, Buoy("red")}) == 2


def test_it_does_not_lock_its_attributes_at_run_time() -> None:
    """That is what it is for; if it did, there were no need for it."""
    for value in (Berth(3), FrozenBerth(3)):
        try:
            object.__getattribute__(value, "__setattr__")("number", 4)
        except FrozenInstanceError:
            assert isinstance(value, FrozenBerth)
        else:
            assert value == Berth(4)


@pytest.mark.slow
def test_the_type_checker_lets_nobody_change_a_value(tmp_path: Path) -> None:
    import mypy.api

    lines = [f"import {module}" for module in sorted({kind.__module__ for kind in VALUES})]
    for number, kind in enumerate(VALUES):
        name = fields(kind)[0].name
        lines += [
            f"def change_{number}(value: {_annotation(kind)}) -> None:",
            f"    value.{name} = value.{name}",
        ]
    source = tmp_path / "changes.py"
    source.write_text("\n".join(lines))
    limit = sys.getrecursionlimit()
    try:
        said, trouble, _ = mypy.api.run(["--config-file", str(CONFIGURATION), str(source)])
    finally:
        # It raises the limit for good, and other tests of this process are about what is too deep.
        sys.setrecursionlimit(limit)
    assert not trouble
    assert said.count("is read-only") == len(VALUES) > 50
    assert f"Found {len(VALUES)} errors" in said


def _annotation(kind: Any) -> str:
    parameters = getattr(kind, "__parameters__", ())
    given = f"[{', '.join(['object'] * len(parameters))}]" if parameters else ""
    return f"{kind.__module__}.{kind.__qualname__}{given}"

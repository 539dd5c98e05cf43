"""``each``: one test over a table of cases, in place of one test per case.

Collecting a case costs each test process as long as a small test takes. So a table of dozens of small cases
is one item: all of its cases run, and all that fail are told, each with its values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, Final

import pytest

Test = Callable[..., None]

_TABLES: Final = "__tables__"
_BODY: Final = "__body__"


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run the decorated test with each of ``cases``, which set the parameters ``names``.

    Takes what ``pytest.mark.parametrize`` takes: several in a row give the product of their cases. Fixtures
    are set up once for all cases, so a test whose cases leave something behind stays with ``parametrize``.
    """
    keys = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else names
    rows = [dict(zip(keys, _values(case, len(keys)), strict=True)) for case in cases]
    assert rows, "a table without cases asserts nothing"

    def decorate(test: Test) -> Test:
        body: Test = getattr(test, _BODY, test)
        tables: list[list[dict[str, Any]]] = [rows, *getattr(test, _TABLES, [])]

        def run(**fixtures: Any) -> None:
            failures = []
            for chosen in product(*tables):
                values = {name: value for row in chosen for name, value in row.items()}
                try:
                    body(**values, **fixtures)
                except (Exception, pytest.fail.Exception) as failure:
                    failure.add_note(
                        "case: " + ", ".join(f"{name}={value!r}" for name, value in values.items())
                    )
                    failures.append(failure)
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} cases of {body.__name__}", failures)

        taken = {name for table in tables for name in table[0]}
        signature = inspect.signature(body)
        left = [parameter for name, parameter in signature.parameters.items() if name not in taken]
        run.__name__, run.__doc__, run.__module__ = body.__name__, body.__doc__, body.__module__
        run.__dict__.update(body.__dict__)
        run.__dict__.update({_BODY: body, _TABLES: tables})
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorate


def _values(case: Any, count: int) -> tuple[Any, ...]:
    if isinstance(case, type(pytest.param())):
        assert not case.marks, "a case with a mark is a test of its own"
        case = case.values
        return tuple(case)
    return tuple(case) if count > 1 else (case,)

"""Immutable dataclasses, checked by the type checker and not at run time.

A frozen dataclass assigns its attributes through ``object.__setattr__``, which takes four times as long as a
plain assignment. Each request makes dozens of value objects. Plain assignment saves a fourteenth of the
processor time of 64 clients that search, claim and free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as valueclass
else:
    from dataclasses import dataclass

    def valueclass(*, frozen: bool, **options: Any) -> Any:
        """``dataclass`` with the same options, equality and hash, but attributes that can be set.

        ``frozen`` must be given, and True: the type checker relies on it.
        """
        assert frozen
        return dataclass(unsafe_hash=options.get("eq", True), **options)


__all__ = ["valueclass"]

"""Dataclasses that nobody changes: the type checker sees to it, so that making one need not.

A frozen dataclass sets each of its attributes past its own lock, some four times as long as plain
assignments take. Each request makes dozens of them: without the lock 64 clients that search, claim and
free cost a fourteenth less processor time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as valueclass
else:
    from dataclasses import dataclass

    def valueclass(*, frozen: bool, **options: Any) -> Any:
        """``dataclass`` with the same options, equality and hash, but attributes that can be set.

        ``frozen`` has to be True, and said: it is what the type checker goes by.
        """
        assert frozen
        return dataclass(unsafe_hash=options.get("eq", True), **options)


__all__ = ["valueclass"]

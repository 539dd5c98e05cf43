"""The providers of an answer, and what is kept of how they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

from moorage.model.answers import KeptSummaries
from moorage.model.requests import ProviderSummary
from moorage.search.block import Block
from moorage.search.snapshot import Snapshot

KEPT_BYTES: Final = 256 * 1024 * 1024
"""What writers of summaries may leave with an index, in bytes: all of some 600,000 providers. When
it is more, all of it goes and is made again as it is asked for."""

Span = tuple[Block, int, int]
"""Entries of a block from an offset up to another one."""


class Summaries(KeptSummaries):
    """Entries of some blocks, by (root id, id)."""

    def __init__(self, snapshot: Snapshot, spans: Sequence[Span]) -> None:
        self._snapshot = snapshot
        self._spans = spans

    def made(self) -> Sequence[ProviderSummary]:
        return [block.summary(offset) for block, start, stop in self._spans for offset in range(start, stop)]

    def __len__(self) -> int:
        return sum([stop - start for _, start, stop in self._spans])

    def rendered(self, form: str, render: Callable[[ProviderSummary], bytes]) -> list[bytes]:
        found: list[bytes] = []
        for block, start, stop in self._spans:
            kept = block.kept.get(form)
            if kept is None:
                kept = block.kept.setdefault(form, [None] * len(block))
            texts = kept[start:stop]
            # No text is empty, so that only what is missing is false.
            if not all(texts):
                fresh = 0
                for place, text in enumerate(texts):
                    if text is None:
                        text = texts[place] = kept[start + place] = render(block.summary(start + place))
                        fresh += len(text)
                self._snapshot.note_kept(fresh, KEPT_BYTES)
            found += cast("list[bytes]", texts)
        return found

"""Texts of many trees at once: what stays the same is copied, uuids are put in column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final

import numpy as np

from moorage.model.answers import Part, Row, Template
from moorage.search.block import UUID_LENGTH, Block, UuidArray
from moorage.search.columns import ByteArray, IntArray

Pick = Callable[[Sequence[bytes]], Row]

FEWEST: Final = 8
"""Trees from which on columns are faster than one tree after the other."""


class Stencil:
    """Text with holes for the uuids of a tree's nodes."""

    __slots__ = ("_format", "_holes", "_pick", "_reach", "_text")

    def __init__(self, parts: Iterable[tuple[Template, Sequence[int]]]) -> None:
        """``parts`` are templates, one after the other, and for each the nodes at its places."""
        pieces, nodes = [b""], list[int]()
        for template, numbers in parts:
            pieces[-1] += template.pieces[0]
            pieces += template.pieces[1:]
            nodes += [numbers[place] for place in template.places]
        self._format = b"%b".join(piece.replace(b"%", b"%%") for piece in pieces)
        self._pick = picking(nodes)
        self._reach = max(nodes, default=-1) + 1
        self._text: ByteArray = np.frombuffer(bytes(UUID_LENGTH).join(pieces), dtype=np.uint8)
        ends = np.cumsum([len(piece) for piece in pieces[:-1]], dtype=np.int64)
        positions = ends + UUID_LENGTH * np.arange(len(nodes))
        self._holes: list[tuple[int, int]] = list(zip(positions.tolist(), nodes, strict=True))

    def of_one(self, uuids: Sequence[bytes]) -> bytes:
        """The text with the uuids of the nodes."""
        return self._format % self._pick(uuids)

    def of_tree(self, block: Block, start: int) -> bytes:
        """The text for the tree that begins at ``start``."""
        uuids: list[bytes] = block.uuids[start : start + self._reach].tolist()
        return self.of_one(uuids)

    def of_many(self, block: Block, starts: IntArray) -> ByteArray | None:
        """The text for the trees that begin at ``starts``: a row for each.

        None if there are uuids of odd lengths, so that texts have odd lengths as well.
        """
        if not block.has_full_uuids:
            return None
        text = np.empty((len(starts), len(self._text)), dtype=np.uint8)
        text[:] = self._text
        columns: dict[int, UuidArray] = {}
        for position, node in self._holes:
            uuids = columns.get(node)
            if uuids is None:
                uuids = columns[node] = block.uuids[starts + node]
            hole = np.ndarray(
                (len(starts),), block.uuids.dtype, text.data, offset=position, strides=(text.strides[0],)
            )
            hole[:] = uuids
        return text


def of_alike(stencil: Stencil, block: Block, starts: IntArray) -> list[Part]:
    """Texts of trees that have the same stencil, in parts."""
    if len(starts) >= FEWEST:
        text = stencil.of_many(block, starts)
        if text is not None:
            return [text.reshape(-1).data]
    return [stencil.of_tree(block, start) for start in starts.tolist()]


def of_mixed(stencils: Sequence[Stencil], block: Block, starts: IntArray) -> list[Part]:
    """Texts of trees that have each its own stencil, a part for each."""
    places: dict[Stencil, list[int]] = {}
    for place, stencil in enumerate(stencils):
        places.setdefault(stencil, []).append(place)
    found: list[Part] = [b""] * len(stencils)
    for stencil, alike in places.items():
        text = stencil.of_many(block, starts[alike]) if len(alike) >= FEWEST else None
        if text is None:
            for place in alike:
                found[place] = stencil.of_tree(block, int(starts[place]))
        else:
            length, rows = text.shape[1], text.reshape(-1).data
            for number, place in enumerate(alike):
                found[place] = rows[number * length : (number + 1) * length]
    return found


def picking(positions: Sequence[int]) -> Pick:
    """A function that takes the items at ``positions`` out of a list."""
    if len(positions) > 1:
        return itemgetter(*positions)
    if not positions:
        return lambda uuids: ()
    position = positions[0]
    return lambda uuids: (uuids[position],)

"""YAML nodes with their lines: checks that do not depend on the meaning of a file."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

import yaml

from moorage.cli.shared.names import as_uuid
from moorage.model.valueclass import valueclass

MAX_PROBLEMS: Final = 50
"""Most problems shown of one file; more would hide the first, which often causes the others."""

_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
"""Without leading zeros: YAML 1.1 reads 010 as 8."""
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_DIGITS: Final = 20
"""Most digits of a whole number that is converted; a longer one is out of every range here."""

_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_NULL_TAG: Final = "tag:yaml.org,2002:null"


@valueclass(frozen=True, slots=True)
class Problem:
    """A problem, with its line (from 1)."""

    line: int
    text: str


class TooManyProblemsError(Exception):
    """The file has ``MAX_PROBLEMS`` problems; reading stops."""


@dataclass(slots=True)
class Reader:
    """Reads values from nodes and records problems.

    The methods return None for a wrong value, after recording it in ``problems``.
    """

    problems: list[Problem] = field(default_factory=list)

    def wrong(self, node: yaml.Node, text: str) -> None:
        """Record a problem at ``node``. Raises TooManyProblemsError past MAX_PROBLEMS."""
        self.problems.append(Problem(line_of(node), text))
        if len(self.problems) >= MAX_PROBLEMS:
            raise TooManyProblemsError

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]] | None:
        """Key to (key node, value node). Keys are strings, each once; ``<<`` merges as in YAML 1.1."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} must be a mapping of keys to values, not {kind_of(node)}")
            return None
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                for pairs in self._merged(value_node, node):
                    for key, pair in pairs.items():
                        merged.setdefault(key, pair)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STRING_TAG:
                self.wrong(key_node, f"a key of {what} must be a string, not {kind_of(key_node)}")
                continue
            if key_node.value in found:
                self.wrong(key_node, f"the key {key_node.value!r} is given twice in {what}")
                continue
            found[key_node.value] = (key_node, value_node)
        return {**merged, **found}

    def _merged(self, node: yaml.Node, into: yaml.Node) -> Iterable[dict[str, tuple[yaml.Node, yaml.Node]]]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if source is into:
                self.wrong(node, "'<<' merges a mapping into itself")
                continue
            pairs = self.mapping(source, "what '<<' names")
            if pairs is not None:
                yield pairs

    def known_keys(
        self, pairs: dict[str, tuple[yaml.Node, yaml.Node]], known: Collection[str], what: str
    ) -> None:
        """Record every key that is not one of ``known``."""
        for key, (key_node, _) in pairs.items():
            if key not in known:
                self.wrong(key_node, f"unknown key {key!r} in {what}{did_you_mean(key, known)}")

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node] | None:
        """Nodes of a list."""
        if not isinstance(node, yaml.SequenceNode):
            self.wrong(node, f"{what} must be a list, not {kind_of(node)}")
            return None
        return list(node.value)

    def string(self, node: yaml.Node, what: str, longest: int) -> str | None:
        """A string of 1 to ``longest`` characters without control characters."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING_TAG:
            hint = "; put it in quotes" if isinstance(node, yaml.ScalarNode) and node.value else ""
            self.wrong(node, f"{what} must be a string, not {kind_of(node)}{hint}")
            return None
        text = str(node.value)
        if not text.strip():
            self.wrong(node, f"{what} must not be empty")
            return None
        if len(text) > longest:
            self.wrong(node, f"{what} has {len(text)} characters; at most {longest} are possible")
            return None
        if not text.isprintable():
            self.wrong(node, f"{what} contains a character that cannot be printed")
            return None
        return text

    def uuid(self, node: yaml.Node, what: str) -> str | None:
        """A uuid in its usual form: lower case, with dashes."""
        text = self.string(node, what, 64)
        if text is None:
            return None
        made = as_uuid(text)
        if made is None:
            self.wrong(node, f"{what} must be a uuid, but is {text!r}")
        return made

    def integer(self, node: yaml.Node, what: str, least: int, most: int) -> int | None:
        """A whole number written in decimal, from ``least`` to ``most``."""
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        if text is None or node.tag == _STRING_TAG or not _INTEGER.fullmatch(text):
            self.wrong(node, f"{what} must be a whole number, not {kind_of(node)}")
            return None
        number = int(text) if len(text) <= _MAX_DIGITS else None
        if number is None or not least <= number <= most:
            self.wrong(node, f"{what} is {text[:_MAX_DIGITS]}; it must be from {least} to {most}")
            return None
        return number

    def number(self, node: yaml.Node, what: str, least: float, most: float) -> float | None:
        """A number from ``least`` to ``most``, with a decimal point or without."""
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
        if text is None or quoted or not _NUMBER.fullmatch(text):
            self.wrong(node, f"{what} must be a number, not {kind_of(node)}")
            return None
        number = float(text)
        if not math.isfinite(number) or not least <= number <= most:
            self.wrong(
                node, f"{what} is {text[:_MAX_DIGITS]}; it must be above 0, from {least:g} to {most:g}"
            )
            return None
        return number


def line_of(node: yaml.Node) -> int:
    """Line of a node, from 1."""
    return int(node.start_mark.line) + 1


def is_null(node: yaml.Node) -> bool:
    """Whether a key was given without a value."""
    return node.tag == _NULL_TAG


def kind_of(node: yaml.Node) -> str:
    """The kind of a node, in words for a message."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if is_null(node):
        return "nothing"
    text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
    return f"the text {text!r}" if node.tag == _STRING_TAG else text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the nearest known word; empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

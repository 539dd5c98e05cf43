"""Finds what makes a text hard to read: phrases that hide which part does something, and long sentences.

Works on Markdown, and on the docstrings, comments and texts of a Python source. Texts are the strings that
people read: errors, lines of logs, help of commands, options and metrics.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from typing import Final

from tests.tidy.sources import Found, nodes

MAX_WORDS: Final = 30
"""Of one sentence. A colon and a semicolon end one as a full stop does."""

BANNED: Final[Mapping[str, str]] = {
    r"\b(?:who|whom|which)ever\b": "name the part or the role",
    r"\b(?:some|any|every|no)body\b|\b(?:some|any|every)one\b|\bno one\b": "name the part or the role",
    r"\b(?:those|all|others|ones|everything|anything) who\b": "name the part or the role",
    r"(?:^|(?<=[.:;] ))who (?!\w[^.:;]*\?)": "begin with the subject: the client, the worker, the reload",
    r", who\b|\bof who\b|\bfor who\b|\bto whom\b|\bby whom\b": "name the part or the role",
    r"\b(?:is|are|was|were|be|been|being) told\b|\btold of\b|\btells? of\b": (
        "say what the part does: it answers, it says, it reports; this page describes"
    ),
    r"\bshall\b": "say must, or say what happens",
    r"\b(?:is|are|was|were) to be (?!found\b)": "say must",
    r"\bto be had\b|\bhad back\b|\bby itself so\b": "say what the part does",
    r"\b(?:hence|thence|whence|hitherto|thereof|therein|whereof|whilst)\b": "use a word of today",
    r"\bcomes? to nothing\b|\bgoes? to nothing\b|\bcome what\b": "say what fails",
    r"\ball the same\b": "say nevertheless, or leave it out",
    r"\b(?:he|she|him|his|hers?|himself|herself)\b": "name the part or the role",
}
"""Patterns, in lower case, and what to write in their place."""

_PATTERNS: Final = {re.compile(pattern): advice for pattern, advice in BANNED.items()}

_FENCE: Final = re.compile(r"^(?P<indent> *)```.*?^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_FIGURES: Final = re.compile(r"<!-- figures: (\w+) -->.*?<!-- end: \1 -->", re.DOTALL)
_RECORD: Final = re.compile(r"^\| \d{4}-\d\d-\d\d .*$", re.MULTILINE)
"""What programs write into a page: tables of benchmarks, and dated rows."""
_CODE: Final = re.compile(r"``[^`]+``|`[^`\n]+`")
_LINK: Final = re.compile(r"!?\[([^\]]*)\](?:\([^)\s]*\)|\[[^\]]*\])")
_ITEM: Final = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
_SENTENCE: Final = re.compile(r"(?<=[.:;?!])[\"')]*\s+")
_MARK: Final = re.compile(r"#:? *(?:noqa|nosec|type:|mypy:|pragma:)\S*(?: [A-Z]+\d+\b)*(?: - )?")
"""What a comment says to a tool rather than to a reader."""
_FEWEST_WORDS: Final = 4
"""A string of fewer words is a name or a part of one, unless it is given as help."""
_ABBREVIATION: Final = re.compile(r"\b(e\.g|i\.e|etc|vs|approx)\.", re.IGNORECASE)


def markdown_sentences(text: str) -> Iterator[Found]:
    """Sentences of the prose of a page, its tables' cells among them, with the lines on which they begin."""
    # Lines keep their numbers: what is left out leaves its line ends.
    for pattern in (_FIGURES, _RECORD, _COMMENT, _FENCE):
        text = pattern.sub(lambda match: "\n" * match[0].count("\n"), text)
    block: list[str] = []
    first = 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        starts_anew = bool(_ITEM.match(line)) or line.lstrip().startswith(("|", "#", ">"))
        if (not line.strip() or starts_anew) and block:
            yield from _sentences(" ".join(block), first)
            block = []
        if line.lstrip().startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")):
                yield from _sentences(cell, number)
        elif line.strip() and not line.startswith("    "):
            if not block:
                first = number
            block.append(_ITEM.sub("", line).strip(" #>"))


def python_sentences(source: str) -> Iterator[Found]:
    """Sentences of docstrings, of comments, and of strings that are texts."""
    yield from _comments(source)
    read: set[int] = set()
    # A node comes before those within it.
    for node in nodes(source):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield from _paragraphs(text, node.lineno)
            case ast.keyword(arg="help" | "short_help" | "epilog", value=value):
                yield from _paragraphs(_literal(value), value.lineno)
            case ast.Constant(value=str()) | ast.JoinedStr() if id(node) not in read:
                text = _literal(node)
                if len(text.split()) >= _FEWEST_WORDS:
                    yield from _paragraphs(text, node.lineno)
            case _:
                continue
        read.update(map(id, ast.walk(node)))


def _comments(source: str) -> Iterator[Found]:
    """Comments; those on lines below each other are read as one text."""
    lines: list[str] = []
    first = last = column = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, place = token.start
        if lines and (row, place) != (last + 1, column):
            yield from _sentences(" ".join(lines), first)
            lines = []
        if not lines:
            first = row
        last, column = row, place
        lines.append(_MARK.sub("", token.string).lstrip("# "))
    if lines:
        yield from _sentences(" ".join(lines), first)


def _literal(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_literal(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _literal(left) + _literal(right)
        case _:
            return "…"


def _paragraphs(text: str, line: int) -> Iterator[Found]:
    for found in markdown_sentences(inspect.cleandoc(text)):
        yield Found(found.text, line + found.line - 1)


def _sentences(text: str, line: int) -> Iterator[Found]:
    plain = _LINK.sub(r"\1", _CODE.sub("code", text)).replace("*", "").replace("_", " ")
    plain = _ABBREVIATION.sub(r"\1", plain)
    for sentence in _SENTENCE.split(plain.strip()):
        if re.search(r"\w", sentence):
            yield Found(sentence.strip(), line)


def hard_to_read(found: Found) -> Iterator[str]:
    """What is wrong with a sentence, with the words that show it and what to write in their place."""
    lowered = found.text.lower()
    for pattern, advice in _PATTERNS.items():
        if match := pattern.search(lowered):
            yield f"{match[0].strip()!r}: {advice}"
    if (count := len(re.findall(r"[\w'./-]+", found.text))) > MAX_WORDS:
        yield f"{count} words, more than {MAX_WORDS}: {found.text[:50]}…"

"""Texts name the part that does something, and say one thing per sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.table import each
from tests.tidy.prose import MAX_WORDS, hard_to_read, markdown_sentences, python_sentences
from tests.tidy.sources import ROOT, Found, label, package_files

PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]

GENERATED = "Written by `make reference`"
"""A page with this note has texts of ``src/moorage`` and ``tools``, which are judged where they stand."""


def places(path: Path, read: Callable[[str], Iterator[Found]]) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md" and GENERATED in text:
        return
    for found in read(text):
        for fault in hard_to_read(found):
            yield f"{label(path, found.line)} {fault}"


def test_pages_are_easy_to_read() -> None:
    assert len(PAGES) > 50
    found = [place for path in PAGES for place in places(path, markdown_sentences)]
    assert not found, "\n".join(found)


def test_docstrings_comments_and_texts_of_the_sources_are_easy_to_read() -> None:
    tools = sorted(ROOT.glob("tools/*.py"))
    files = [*package_files(), *tools]
    assert len(files) > 200
    found = [place for path in files for place in places(path, python_sentences)]
    assert not found, "\n".join(found)


LONG = "word " * MAX_WORDS + "word."


@each(
    "text",
    [
        "Whoever comes first leads.",
        "It takes what somebody has left.",
        "Who asks the same is given the same answer.",
        "First the lock is taken. Who waits meanwhile gets 503.",
        "The client is told 503.",
        "This is told of elsewhere.",
        "The tests wake those who wait.",
        "Names that shall be different.",
        "| a cell | about those who write |",
        "- an item\n  that nobody reads",
        "# Who may do what is told here",
        LONG,
    ],
)
def test_what_is_hard_to_read_is_recognised(text: str) -> None:
    assert [fault for found in markdown_sentences(text) for fault in hard_to_read(found)]


@each(
    "text",
    [
        "The committer takes all waiting writes.",
        "Who may do what?",
        "```text\nwhoever reads this\n```\n",
        "`whoever` is a name here.",
        "    indented = whoever\n",
        "<!-- figures: sqlite -->\nwhoever\n<!-- end: sqlite -->\n",
        "<!-- nobody sees this -->",
        "| 2026-11-25 19:51 | nobody | " + "word " * 60 + "|",
        "word " * (MAX_WORDS - 1) + "word: " + "word " * (MAX_WORDS - 1) + "word.",
        "- " + "word " * 20 + "\n- " + "word " * 20,
        "| " + "word " * 20 + "| " + "word " * 20 + "|",
    ],
)
def test_what_is_easy_to_read_is_left_alone(text: str) -> None:
    assert [fault for found in markdown_sentences(text) for fault in hard_to_read(found)] == []


def test_a_sentence_is_found_on_its_line() -> None:
    found = list(markdown_sentences("# A head\n\n```sh\nmake\n```\n\nOne. Two\ngoes on.\n- three\n"))
    assert [(sentence.text, sentence.line) for sentence in found] == [
        ("A head", 1),
        ("One.", 7),
        ("Two goes on.", 7),
        ("three", 9),
    ]


def test_docstrings_comments_and_texts_are_read() -> None:
    source = (
        '"""Whoever reads."""\n'
        'X = {"whoever comes": "nobody_cares"}\n'
        "def f():\n"
        '    """Does a thing.\n\n    Nobody waits.\n    """\n'
        '@option("--a", help="What somebody " f"may {x} do")\n'
        "def g(): ...\n"
        'raise RefusedError(f"{name} is for " "somebody else")\n'
        'LOG.warning("%s waits for whoever comes", name)\n'
        'Metric("moorage_waiting", Kind.GAUGE, "Writes of those who wait.")\n'
        "# It waits for\n"
        "# nobody else.\n"
        "x = 1  # noqa: S101 - anybody may do this\n"
        "# type: ignore\n"
    )
    found = [
        (fault.split(":")[0], item.line) for item in python_sentences(source) for fault in hard_to_read(item)
    ]
    assert sorted(found, key=lambda pair: pair[1]) == [
        ("'whoever'", 1),
        ("'nobody'", 6),
        ("'somebody'", 8),
        ("'somebody'", 10),
        ("'whoever'", 11),
        ("'those who'", 12),
        ("'nobody'", 13),
        ("'anybody'", 15),
    ]

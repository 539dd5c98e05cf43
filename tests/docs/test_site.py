"""The built site: no raw markup, nothing from another origin, no page wider than its window."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import site
from tests.table import each
from tests.tidy.sources import ROOT

REPOSITORY = "https://code.example/moorage"

WIDTHS = (1280, 390)
"""Of a small notebook and of a telephone, in pixels."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it: a warning ends the build."""
    if importlib.util.find_spec("sphinx") is None:
        assert not os.environ.get("CI"), "requirements/docs.txt is not installed"
        pytest.skip("requirements/docs.txt is not installed")
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-n", "-q", "-b", "html", "-d", str(tmp_path_factory.mktemp("doctrees"))]
    command = [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(folder)]
    result = subprocess.run(
        command, env=os.environ | {"DOCS_REPOSITORY": REPOSITORY}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return folder


def pages(built: Path) -> dict[str, str]:
    return {
        str(path.relative_to(built)): path.read_text(encoding="utf-8")
        for path in sorted(built.rglob("*.html"))
        if "_static" not in path.parts
    }


def test_every_page_is_built(built: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in ROOT.glob("docs/**/*.md")}
    assert len(sources) > 40
    assert sources <= {Path(name) for name in pages(built)}


def test_no_page_shows_raw_table_markup(built: Path) -> None:
    found = {name: site.raw_tables(text) for name, text in pages(built).items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_no_page_loads_from_another_origin(built: Path) -> None:
    found = {name: site.from_elsewhere(text) for name, text in pages(built).items()}
    for path in built.rglob("*.css"):
        found[path.name] = site.styles_from_elsewhere(path.read_text(encoding="utf-8"))
    assert {name: addresses for name, addresses in found.items() if addresses} == {}


def test_every_page_has_an_edit_link_and_a_version_link(built: Path) -> None:
    for name, text in pages(built).items():
        source = Path("docs", name).with_suffix(".md")
        if (ROOT / source).exists():
            assert f'href="{REPOSITORY}/edit/main/{source}"' in text, name
        assert re.search(r'href="(?:[^"]*changelog\.html|#)"[^>]*>v\d', text), name
        assert f'href="{REPOSITORY}/tags"' in text, name


def test_no_page_is_wider_than_its_window(built: Path, tmp_path: Path) -> None:
    if site.browser() is None:
        pytest.skip("no browser: Debian's package is chromium")
    names = [*pages(built)]
    measured = site.measure(built, names, WIDTHS, tmp_path)
    assert measured.faults == []
    assert measured.pages == len(names) * len(WIDTHS)


def test_a_browser_notices_what_does_not_fit(tmp_path: Path) -> None:
    if site.browser() is None:
        pytest.skip("no browser: Debian's package is chromium")
    folder = tmp_path / "site"
    folder.mkdir()
    wide = "<table><tr><td style='min-width:600px'>wide</td></tr></table>"
    (folder / "wide.html").write_text(f"<article>{wide}</article>")
    (folder / "hidden.html").write_text(f"<body style='overflow:hidden'><article>{wide}</article>")
    (folder / "text.html").write_text(f"<body style='overflow:hidden'><article><h2>{'w' * 30}</h2></article>")
    (folder / "scrolls.html").write_text(f"<article><div style='overflow-x:auto'>{wide}</div></article>")
    names = ["wide.html", "hidden.html", "text.html", "scrolls.html"]
    measured = site.measure(folder, names, [390, 1280], tmp_path / "user")
    assert {fault.partition(":")[0] for fault in measured.faults} == {
        "wide.html at 390",
        "hidden.html at 390",
        "text.html at 390",
    }


@each(
    ("text", "shown"),
    [
        ("<p>| a | b |\n|---|---|\n| 1 | 2 |</p>", True),
        ("<p>words\n| a | b |</p>", True),
        ("<p>words<br>| --- | --- |</p>", True),
        ("<table><tr><td>a</td></tr></table>", False),
        ("<p>either <code>A|B</code> or a | b</p>", False),
        ("<pre>| a | b |</pre>", False),
    ],
)
def test_raw_table_markup_is_recognised(text: str, shown: bool) -> None:
    assert bool(site.raw_tables(text)) == shown


@each(
    ("text", "loads"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<img src="//cdn.example/x.png">', True),
        ('<link rel="stylesheet" href="https://fonts.example/css">', True),
        ('<link rel="preconnect" href="https://fonts.example">', True),
        ("<style>@import 'https://fonts.example/css';</style>", True),
        ('<p style="background: url(https://x.example/y)">', True),
        ('<a href="https://docs.example/">elsewhere</a>', False),
        ('<link rel="canonical" href="https://docs.example/">', False),
        ('<script src="_static/x.js"></script><img src="data:image/png;base64,AA">', False),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_recognised(text: str, loads: bool) -> None:
    assert bool(site.from_elsewhere(text)) == loads

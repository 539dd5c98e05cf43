"""Commands and links of the documents.

Blocks marked ``bash`` run as printed, page by page, against a server with the sample cloud. Blocks marked
``sh`` are commands that stay in a terminal or change the machine: they are checked, not run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from moorage.cli.loading import read_document
from moorage.cli.main import main
from tests.servers.ports import free_port
from tests.table import each

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
COMMANDS_TEXT = "".join(
    (ROOT / "docs/reference" / name).read_text() for name in ("commands.md", "client-commands.md")
)
"""Where every command and every option is told of."""

PRINTED_URL = "http://127.0.0.1:8778"

PRINTED_PORT_OF_ITS_OWN = "8799"
"""Of a page that starts a service by its own commands."""

STOP_SERVICES = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
"""A script that fails leaves no service behind."""

LAST_LINE = "Stop it with Ctrl-C."
"""What the server prints last, when it answers."""

START_SECONDS = 60.0
"""How long the server may take to make its database, load the sample cloud and answer."""

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def blocks(text: str, language: str) -> list[str]:
    return [match["body"] for match in FENCE.finditer(text) if match["language"] == language]


def commands(page: Path) -> list[list[str]]:
    """Words of each line of a page's ``sh`` blocks."""
    lines = [line for block in blocks(page.read_text(), "sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page.read_text(), language)]


@dataclass(frozen=True)
class Demo:
    """A server with the sample cloud, and what it has printed."""

    url: str
    log: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A server with the sample cloud, as ``make run`` starts it, on another port."""
    url = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            # -P: with a new folder in its path, a process would look for all entry points again.
            [sys.executable, "-P", "-m", "moorage", "serve", "--demo", "--port", url.rpartition(":")[2]],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while LAST_LINE not in (log_text := (folder / "log").read_text()):
            assert server.poll() is None, log_text
            assert time.monotonic() < deadline, log_text
            time.sleep(0.1)
        yield Demo(url, folder / "log")
    finally:
        server.terminate()
        server.wait()


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.journey
@pytest.mark.parametrize("page", pages_with("bash"), ids=name_of)
def test_the_commands_of_a_page_work_as_printed(page: Path, demo: Demo, tmp_path: Path) -> None:
    script = "\n".join([STOP_SERVICES, *blocks(page.read_text(), "bash")]).replace(PRINTED_URL, demo.url)
    script = script.replace(PRINTED_PORT_OF_ITS_OWN, str(free_port()))
    result = run_script(script, tmp_path)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def test_readme_and_tutorial_have_commands_to_run() -> None:
    assert {name_of(page) for page in pages_with("bash")} >= {
        "README.md",
        "docs/tutorial/index.md",
        "docs/tutorial/without-openstack.md",
    }


@each("page", pages_with("sh"))
def test_make_targets_and_commands_on_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(page):
        match words:
            case ["make", target, *_]:
                assert target in targets
            case ["moorage", *arguments]:
                assert_parses(arguments)
            case ["python", script, *arguments] if script.endswith(".py"):
                told = subprocess.run(
                    [sys.executable, ROOT / script, "--help"], check=True, capture_output=True, text=True
                ).stdout
                assert all(word in told for word in arguments if word.startswith("--"))
            case _:
                pytest.fail(f"neither make nor moorage: {shlex.join(words)}")


@pytest.mark.parametrize("page", pages_with("yaml"), ids=name_of)
def test_documents_for_load_on_a_page_are_valid(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page.read_text(), "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        assert read_document(path).providers


def assert_parses(arguments: list[str]) -> None:
    """Parse a command line as the commands do, without running any."""
    command: click.Command = main
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"no command {name}"
        command = found
    command.make_context("moorage", arguments)


def test_every_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    # Markdown drops what is beyond the header's cells, and a bare "|" in a cell begins another one.
    assert [place for page in PAGES for place in uneven_rows(name_of(page), page.read_text())] == []


def test_an_uneven_row_is_noticed() -> None:
    text = "| a | b |\n|---|---|\n| 1 | `x|y` |\n| 1 | `x\\|y` |\n```text\n| 1 |\n```\n"
    assert uneven_rows("page", text) == ["page:3"]


def uneven_rows(name: str, text: str) -> list[str]:
    """Rows with more or fewer cells than the line that begins their table."""
    found: list[str] = []
    cells = fenced = 0
    for number, line in enumerate(text.splitlines(), start=1):
        fenced ^= line.lstrip().startswith("```")
        if fenced or not line.startswith("|"):
            cells = 0
            continue
        here = len(re.findall(r"(?<!\\)\|", line))
        cells = cells or here
        if here != cells:
            found.append(f"{name}:{number}")
    return found


@each("page", PAGES)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(page.read_text())]
    missing = [
        target for target in targets if target and "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing


def test_every_command_line_option_is_in_the_reference() -> None:
    text = COMMANDS_TEXT
    leaves = [command for command in walk(main) if not isinstance(command, click.Group)]
    long_names = {
        name
        for command in leaves
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }
    assert len(leaves) >= 4
    assert not {name for name in long_names if f"`{name}" not in text}


def test_every_command_is_in_the_reference() -> None:
    names = {" ".join(words) for words in paths(main, ("moorage",))}
    assert len(names) >= 30
    assert not {name for name in names if not re.search(rf"`{name}[` ]", COMMANDS_TEXT)}


def paths(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Words of every command that does something."""
    if not isinstance(command, click.Group):
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from paths(inner, (*words, name))


def walk(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from walk(inner)

"""Where a descriptor is opened, duplicated or closed: a process loses its locks on a file by closing any.

SQLite sees to its own descriptors. It cannot know of others: POSIX drops all locks of a process on a file
as soon as the process closes any descriptor of it. So each place that opens files, or closes numbers, stands
here with what keeps the database's file out of it.
"""

from __future__ import annotations

import ast

import pytest

from tests.tidy.sources import PACKAGE, Found, nodes, package_files

NUMBERS = {"dup", "dup2", "close", "closerange", "fdopen", "open", "openpty", "pipe", "fork", "posix_spawn"}
"""Functions of ``os`` that make, close or pass on descriptors."""

FILES = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "touch"}
"""Functions and methods that open a file, and close it again."""

ALLOWED = {
    ("serve/worker.py", "os.dup2"): "over the socket that a worker accepts from, once it was looked at",
    ("serve/worker.py", "touch"): "an empty file in a folder of its own",
    ("cli/discovery/files.py", "read_text"): "files of the kernel, by a command that opens no database",
    (
        "cli/client/sources/host.py",
        "read_bytes",
    ): "variables of processes, by a command that opens no database",
    ("cli/client/lease.py", "read_text"): "the file that names a lease, by a command that opens no database",
    ("cli/client/lease.py", "write_text"): "the same",
    ("cli/client/supervision/kernel.py", "read_text"): "files of the kernel, by a command without a database",
    **{
        (f"cli/client/supervision/{file}.py", f"os.{name}"): "of a command that opens no database"
        for file, names in {
            "command": ("pipe", "fork", "close"),
            "guard": ("pipe", "fork", "close", "closerange"),
        }.items()
        for name in names
    },
    ("cli/config.py", "open"): "a command that opens no database",
    ("serve/signals.py", "open"): "the terminal, before there is a database",
    ("cli/loading.py", "read_bytes"): "the file that a command is to load",
    ("wiring/log_files.py", "read_text"): "the logging file, before there is a database",
    ("wiring/profiles.py", "open"): "the file of profiles, which is no database",
    ("serve/tls.py", "read_text"): "the key, before there is a database",
    ("serve/tls.py", "read_bytes"): "the certificates, before there is a database",
    (
        "store/files.py",
        "os.open",
    ): "only of a file that this makes (O_EXCL): nothing can have locks on it yet",
    ("store/files.py", "os.close"): "the same",
    ("api/console/files.py", "read_bytes"): "the files of the package, which are no database",
    ("telemetry/folding.py", "os.open"): "the lock beside the figures of the metrics",
    ("telemetry/folding.py", "os.close"): "the same",
    ("telemetry/scrape.py", "read_text"): "the size of a process, of /proc",
}


def descriptors_in(source: str) -> list[Found]:
    """Calls that open, duplicate or close."""
    found = []
    for node in nodes(source):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if any(keyword.arg == "fileno" for keyword in node.keywords):
            found.append(Found("fileno=", node.lineno))
        if isinstance(called, ast.Name) and called.id == "open":
            found.append(Found("open", node.lineno))
        elif isinstance(called, ast.Attribute):
            of = called.value.id if isinstance(called.value, ast.Name) else ""
            if of == "os":
                found += [Found(f"os.{called.attr}", node.lineno)] if called.attr in NUMBERS else []
            elif called.attr in FILES or (of, called.attr) == ("sqlite3", "connect"):
                found.append(Found(called.attr, node.lineno))
    return found


def test_descriptors_are_opened_and_closed_where_it_cannot_be_the_databases_file() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), each.text)
        for path in package_files()
        for each in descriptors_in(path.read_text())
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    ("source", "called"),
    [
        ("os.dup(number)", "os.dup"),
        ("os.close(number)", "os.close"),
        ("with open(path) as file: ...", "open"),
        ("with path.open() as file: ...", "open"),
        ("Path(name).read_text()", "read_text"),
        ("socket.socket(fileno=number)", "fileno="),
        ("sqlite3.connect(path)", "connect"),
    ],
)
def test_what_opens_or_closes_is_recognised(source: str, called: str) -> None:
    assert [found.text for found in descriptors_in(source)] == [called]


@pytest.mark.parametrize(
    "source", ["service.close()", "os.kill(number, 9)", "engine.connect()", "path.stat()"]
)
def test_what_does_neither_is_not(source: str) -> None:
    assert not descriptors_in(source)

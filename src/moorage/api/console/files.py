"""The files of the console, as they are sent: from the package, hashed and compressed once per process."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from moorage.model.valueclass import valueclass

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
"""By the end of a file's name. Files of other kinds are not sent."""

LEVEL: Final = 6
"""Of the compression. The highest one takes several times as long for 1 % less."""


_COMMENTED: Final[Mapping[str, bool]] = {"css": False, "js": True}
"""Files that lose their comments, by the end of their names; whether `//` begins one."""


@valueclass(frozen=True, slots=True)
class StaticFile:
    """A file to send. ``tag`` is its entity tag, ``squeezed`` its content compressed by gzip."""

    media_type: str
    content: bytes
    squeezed: bytes
    tag: str


def static_file(name: str, content: bytes) -> StaticFile:
    """The file of this name. Raises KeyError if files of its kind are not sent."""
    return StaticFile(
        MEDIA_TYPES[name.rpartition(".")[2]],
        content,
        gzip.compress(content, LEVEL, mtime=0),
        f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )


def packaged_files() -> dict[str, StaticFile]:
    """All files of the console by their path below it: ``pages/map.js``."""
    found: dict[str, StaticFile] = {}
    _collect(resources.files("moorage.api.console") / "static", "", found)
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, StaticFile]) -> None:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            _collect(entry, f"{path}/", found)
        else:
            found[path] = static_file(path, as_sent(path, entry.read_bytes()))


def as_sent(name: str, content: bytes) -> bytes:
    """A file as browsers get it: without indentation, and without comments on lines of their own.

    These are for readers of the source, and an eighth of it. No text of a script goes over several lines.
    """
    has_lines = _COMMENTED.get(name.rpartition(".")[2])
    if has_lines is None:
        return content
    kept: list[bytes] = []
    inside = False
    for line in content.splitlines(keepends=True):
        text = line.lstrip()
        whole = text.rstrip()
        begins = not inside and whole.startswith(b"/*")
        if inside or begins:
            ends = whole.endswith(b"*/")
            if begins and b"*/" in whole and not ends:
                kept.append(text)
            inside = not ends and (inside or b"*/" not in whole)
        elif not (has_lines and whole.startswith(b"//")):
            kept.append(text)
    return b"".join(kept)

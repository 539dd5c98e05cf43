"""The files of a SQLite database: only their owner may read them.

SQLite makes a new database with the mode that the umask leaves, most often readable for all users. The
files beside it (``-wal``, ``-shm``, ``-journal``) get the database's own mode. So the empty file is made
here. An existing file keeps its mode, which may be an administrator's choice.

The file is made without being opened: closing it would release the locks that this process has on it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

PRIVATE_FILE: Final = stat.S_IFREG | stat.S_IRUSR | stat.S_IWUSR

PRIVATE_FOLDER: Final = stat.S_IRWXU

CREATING: Final = "rwc"
"""How a URI asks SQLite to make the file; also what SQLite does if the URI does not say."""


def make_private_folder(path: Path) -> None:
    """Make a folder for a database, unless it exists. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)


def make_private_file(path: Path) -> None:
    """Make an empty file, unless it exists. Raises OSError."""
    # SQLite follows a link to a file that does not exist yet.
    path = path.resolve()
    with suppress(FileExistsError):
        try:
            os.mknod(path, PRIVATE_FILE)
        except PermissionError:
            # macOS refuses this to all users but root. A new file cannot have locks on it yet.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, stat.S_IMODE(PRIVATE_FILE)))


def file_to_be_made(arguments: Sequence[Any], options: Mapping[str, Any]) -> Path | None:
    """The file that ``sqlite3.connect`` would make; None if it would make none."""
    name = str(arguments[0])
    if not options.get("uri") or not name.startswith("file:"):
        return Path(name)
    parts = urlsplit(name)
    if parse_qs(parts.query).get("mode", [CREATING]) != [CREATING]:
        return None
    return Path(unquote(parts.path))

"""Runs commands of ``openstack`` one after the other, as a shell does, without importing it for each.

Reads one command a line from standard input, as a JSON list of arguments, and answers each with one line: a
JSON object with ``returncode``, ``stdout`` and ``stderr``. Each command runs in a process of its own, forked
after the imports, so it knows nothing of the ones before it.
"""

from __future__ import annotations

import json
import os
import sys
from tempfile import TemporaryFile
from typing import NoReturn

from openstackclient import shell


def carry_out(arguments: list[str]) -> dict[str, object]:
    """What a command printed, and its exit status."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            be(arguments)
        _, status = os.waitpid(child, 0)
        printed = []
        for file in (output, errors):
            file.seek(0)
            printed.append(file.read().decode())
    return {
        "returncode": os.waitstatus_to_exitcode(status),
        "stdout": printed[0],
        "stderr": printed[1],
    }


def be(arguments: list[str]) -> NoReturn:
    """Be the command, and end with its status."""
    status = 70
    try:
        status = shell.main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)  # noqa: T201 - the answer

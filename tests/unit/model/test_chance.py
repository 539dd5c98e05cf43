from __future__ import annotations

import os

from moorage.model.chance import own_numbers
from tests.tidy.sources import ROOT, package_files


def test_a_forked_process_has_numbers_of_its_own() -> None:
    numbers = own_numbers()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(numbers.getrandbits(128)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != str(numbers.getrandbits(128))
    os.close(reading)
    os.close(writing)


def test_no_module_keeps_numbers_that_forked_processes_would_share() -> None:
    at_module_level = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in package_files()
        for line in path.read_text().splitlines()
        if "Random()" in line and line[:1] not in {" ", "#"}
    ]
    assert at_module_level == []

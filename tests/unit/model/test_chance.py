from __future__ import annotations

from moorage.model.chance import own_numbers
from tests.copies import told_by_a_copy
from tests.tidy.sources import ROOT, package_files


def test_a_forked_process_has_numbers_of_its_own() -> None:
    numbers = own_numbers()
    told = told_by_a_copy(lambda: str(numbers.getrandbits(128)))
    assert told
    assert told != str(numbers.getrandbits(128))


def test_no_module_keeps_numbers_that_forked_processes_would_share() -> None:
    at_module_level = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in package_files()
        for line in path.read_text().splitlines()
        if "Random()" in line and line[:1] not in {" ", "#"}
    ]
    assert at_module_level == []

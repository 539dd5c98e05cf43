"""The nearest known names: found among thousands, without comparing each letter of all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from moorage.api.native import names
from tests.table import each

ALIKE = [f"CUSTOM_RACK_{number:04}" for number in range(3_000)]


@each(
    ("unknown", "known"),
    [
        ("HW_CPU_X86_AVX22", "HW_CPU_X86_AVX2"),
        ("HW_CPU_AVX2", "HW_CPU_X86_AVX2"),
        ("hw_cpu_x86_avx2", "HW_CPU_X86_AVX2"),
        ("V", "VW"),
    ],
)
def test_a_name_is_found_among_thousands(unknown: str, known: str) -> None:
    assert names.nearest(unknown, [*ALIKE, "HW_CPU_X86_AVX2", "VW"])[0] == known


def test_few_of_many_known_names_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counting(name: str, known: Sequence[str], most: int) -> list[str]:
        compared.extend(known)
        return list(known)[:most]

    monkeypatch.setattr(names, "get_close_matches", counting)
    assert len(names.nearest("CUSTOM_RACK_X", ALIKE)) == names.MOST
    assert len(compared) == names.MOST_MEASURED


def test_names_of_hundreds_of_letters_get_no_others_and_are_none() -> None:
    long = "A" * (names.LONGEST + 1)
    assert names.nearest(long, ["A" * names.LONGEST]) == []
    assert names.nearest("A" * names.LONGEST, [long]) == []
    assert names.nearest("A" * names.LONGEST, [long[1:]]) == [long[1:]]

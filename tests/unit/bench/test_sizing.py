"""The benchmark that tells what a region needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import sizing
from benchmarks.databases import KINDS
from tests.servers.databases import SQLITE


@pytest.mark.journey
def test_a_small_region_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "SECONDS", 1.0)
    rows = [
        dict(zip(sizing.HEAD, sizing.measure(SQLITE, name, 40, tmp_path / str(number)), strict=True))
        for number, name in enumerate(sizing.CLOUDS)
    ]
    full, trees = rows
    # Of forty hosts two are free; the others have four consumers with three allocations each.
    assert (full["providers"], full["allocations"]) == ("40", "456")
    assert (trees["providers"], trees["allocations"]) == ("280", "0")
    assert float(full["search, claim and free per second"].replace(",", "")) > 0
    assert full["database"].endswith("MiB")
    assert int(full["worker"].removesuffix(" MiB")) > 0


def test_every_cloud_and_kind_of_database_can_be_asked() -> None:
    assert set(sizing.SIZES) == set(KINDS)
    assert set(sizing.CONNECTIONS) == set(KINDS) - {SQLITE}

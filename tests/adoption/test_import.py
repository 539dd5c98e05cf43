"""The account of a running reference is copied over HTTP; nobody sees a difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.services import Moorage, Reference
from moorage.cli.main import main
from tests.adoption.dump import Dump, differences, dump
from tests.adoption.test_adoption import serving
from tests.adoption.world import Cloud, work_at_random

pytestmark = pytest.mark.journey


def undated(found: Dump) -> Dump:
    """Without the times: they are what the API does not show of everything."""
    return {request: answer[:2] for request, answer in found.items()}


def test_account_of_a_running_reference_is_copied_whole(tmp_path: Path) -> None:
    there, here = (f"sqlite:///{tmp_path}/{name}.sqlite" for name in ("there", "here"))
    reference, moorage = Reference(there, tmp_path, workers=1), Moorage(here, tmp_path, workers=1)
    reference.prepare()
    moorage.prepare()
    with serving(reference) as port:
        cloud = Cloud(port)
        cloud.build()
        cloud.carry_on(0)
        cloud.close()
        work_at_random(port, seed=0)
        before = dump(port, usages_by_type=True)
        url = f"http://127.0.0.1:{port}"
        result = CliRunner().invoke(main, ["import", "--from", url, "--database", here])
    assert result.exit_code == 0, result.output
    assert "no difference" in result.output
    with serving(moorage) as port:
        after = dump(port, usages_by_type=True)
    assert differences(undated(before), undated(after)) == []
    found = CliRunner().invoke(main, ["verify", "--follow", "0", "--database", here])
    assert found.exit_code == 0, found.output

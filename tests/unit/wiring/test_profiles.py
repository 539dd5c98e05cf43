"""The file of profiles: what it may say, and when it is read again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from moorage.model.errors import ConfigurationError
from moorage.model.mixes import Mix
from moorage.model.orders import NO_PROFILES, Order, wishes
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.wiring import profiles
from moorage.wiring.options import read_options
from moorage.wiring.profiles import ProfilesFile, profiles_from, read
from moorage.wiring.settings import Chosen, resolve
from moorage.wiring.startable import problems

TEXT = """
default: usual
profiles:
  usual: {strategy: spread}
  gpu:
    strategy: best_fit
    weights: {PGPU: 2}
    prefer: [{trait: CUSTOM_NVME, weight: 2}]
    spare_special: 0.5
    among_best: 3
    largest: {PGPU: 8}
    rare: [PGPU]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.yaml"
    path.write_text(TEXT)
    return path


def test_profiles_are_orders_by_name(file: Path) -> None:
    found = read(file, "gpu")
    assert found.default == "usual"
    assert found.orders == {
        "usual": Order("spread"),
        "gpu": Order(
            "best_fit",
            {"PGPU": 2},
            wishes({"CUSTOM_NVME": 2}),
            spare_special=0.5,
            among_best=3,
            largest={"PGPU": 8},
            rare=frozenset(["PGPU"]),
        ),
    }


def test_a_profile_gives_a_mix_or_learns_it(tmp_path: Path) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text(
        """
profiles:
  learnt: {strategy: slots, scored: CUSTOM_GPU}
  given:
    strategy: slots
    mix:
      - {ask: {groups: {"": {resources: {VCPU: 1}}}}, share: 3}
      - {ask: {groups: {"": {resources: {VCPU: 4}}}}}
  both: {strategy: slots, learn: true, mix: [{ask: {groups: {"": {resources: {VCPU: 1}}}}}]}
"""
    )
    small, large = (CandidateRequest((RequestGroup("", {"VCPU": amount}),)) for amount in (1, 4))
    assert read(path).orders == {
        "learnt": Order("slots", scored="CUSTOM_GPU", learned="learnt"),
        "given": Order("slots", mix=Mix.of([(small, 3), (large, 1)]), learned=None),
        "both": Order("slots", mix=Mix.of([(small, 1)]), learned="both"),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("profiles: {a: {strategy: slots, learn: false}}", "slots needs a mix, or learns one"),
        ("profiles: {a: {strategy: slots, mix: []}}", "/profiles/a/mix"),
        (
            "profiles: {a: {strategy: slots, mix: [{ask: {query: 'resources=VCPU:1'}}]}}",
            "/profiles/a/mix/0/ask/query",
        ),
        (
            "profiles: {a: {strategy: slots, mix: [{ask: {groups: {'': {resources: {}}}}}]}}",
            "/profiles/a/mix/0/ask/groups",
        ),
        (
            "profiles: {a: {strategy: slots, mix: [{ask: {groups: {'': {resources: {A: 1}}}}, share: 0}]}}",
            "/profiles/a/mix/0/share",
        ),
        ("profiles: [", "cannot be understood"),
        ("profiles: {a: {weights: {VCPU: .inf}}}", "cannot be understood"),
        ("? [1, 2]\n: 3", "cannot be understood"),
        ("", "is not of type 'object'"),
        ("{}", "/profiles: The field 'profiles' is missing"),
        ("profiles: {1 2: {}}", "There is no field"),
        ("profiles: {a: {strategy: packed}}", "/profiles/a/strategy"),
        ("profiles: {a: {profile: b}}", "/profiles/a/profile"),
        ("profiles: {a: {prefer: [{weight: 1}]}}", "/profiles/a/prefer/0: Each entry names either"),
        ("default: b\nprofiles: {a: {}}", "has no profile b"),
        ("profiles: {b: {}}", "has no profile a"),
        ("x" * 1_000_001, "is larger than"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        read(file, "a")
    assert told in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        ProfilesFile(tmp_path / "none.yaml")


def test_a_file_is_read_again_when_it_changes(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    kept = ProfilesFile(file, "usual", clock=lambda: now[0])
    before = kept.present()
    file.write_text("profiles: {usual: {strategy: pack}}")
    assert kept.present() is before
    now[0] += profiles.LOOK_SECONDS
    assert kept.present().orders == {"usual": Order("pack")}
    assert "were read again" in caplog.text
    file.write_text("profiles: {other: {}}")
    now[0] += profiles.LOOK_SECONDS
    with caplog.at_level(logging.ERROR):
        assert kept.present().orders == {"usual": Order("pack")}
    assert "The previous profiles stay in force." in caplog.text
    file.unlink()
    now[0] += profiles.LOOK_SECONDS
    assert kept.present().orders == {"usual": Order("pack")}
    now[0] += profiles.LOOK_SECONDS
    assert kept.present().orders == {"usual": Order("pack")}


def test_without_a_file_there_are_no_profiles() -> None:
    assert profiles_from(None, None)() is NO_PROFILES
    with pytest.raises(ConfigurationError, match="no file has profiles"):
        profiles_from(None, "gpu")


def test_a_service_does_not_start_with_profiles_that_it_cannot_use(file: Path) -> None:
    environment = {
        "OS_PLACEMENT_MOORAGE__PROFILES_FILE": str(file),
        "OS_PLACEMENT_MOORAGE__CANDIDATE_ORDER": "gpu",
    }
    assert not [each for each in problems(read_options(environment=environment), {}) if "profiles" in each]
    file.write_text("profiles: {}")
    [told] = [each for each in problems(read_options(environment=environment), {}) if "profiles" in each]
    assert told == f"[moorage] profiles_file: {file} has no profile gpu."


def test_settings_name_the_file_and_the_order(file: Path, tmp_path: Path) -> None:
    settings = resolve(
        Chosen(data_directory=tmp_path),
        {
            "OS_PLACEMENT_MOORAGE__PROFILES_FILE": str(file),
            "OS_PLACEMENT_MOORAGE__CANDIDATE_ORDER": "gpu",
        },
    ).settings
    assert (settings.profiles_file, settings.service.candidate_order) == (str(file), "gpu")

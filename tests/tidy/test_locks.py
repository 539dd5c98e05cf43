"""The locked requirements pin everything, name no address, and fit pyproject.toml and each other."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.tidy.sources import ROOT, imported_modules, package_files

FOLDER = ROOT / "requirements"
SETS = ("run", "pip", "build", "test", "docs", "lock", "audit")

DRIVERS = {"psycopg", "pymysql", "python-memcached"}
"""Named in database URLs and options only, so that nothing here imports them."""

PINNED = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^\s;]+)"
    r"(?: ; (?P<marker>[^\\]+?))?"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)$"
)


@dataclass(frozen=True)
class Pin:
    """One entry of a lock."""

    name: str
    version: Version
    hashes: int


def parse(text: str) -> dict[str, Pin]:
    """Pins by name. Raises ValueError for a line that is anything but a pin with hashes."""
    pins = {}
    joined = re.sub(r" *\\\n *", " ", re.sub(r"(?m)^ *#.*\n?", "", text))
    for line in filter(None, map(str.strip, joined.splitlines())):
        match = PINNED.match(line)
        if match is None:
            raise ValueError(f"not a pin with hashes: {line[:120]}")
        pins[match["name"]] = Pin(match["name"], Version(match["version"]), match["hashes"].count("sha256:"))
    return pins


def lock(name: str) -> dict[str, Pin]:
    return parse((FOLDER / f"{name}.txt").read_text())


def wanted(path: Path) -> list[Requirement]:
    """Requirements of an ``.in`` file."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-c ")]


def unmet(requirements: list[Requirement], pins: dict[str, Pin]) -> list[str]:
    """Requirements that no pin satisfies."""
    return [
        str(requirement)
        for requirement in requirements
        if (pin := pins.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pin.version, prereleases=True)
    ]


def project() -> dict[str, list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        content = tomllib.load(file)
    return {
        "run": content["project"]["dependencies"],
        "otel": content["project"]["optional-dependencies"]["otel"],
        "build": content["build-system"]["requires"],
    }


@pytest.mark.parametrize("name", SETS)
def test_every_line_of_a_lock_is_pinned_by_hash(name: str) -> None:
    pins = lock(name)
    assert pins
    assert all(pin.hashes for pin in pins.values())


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_requirements_file_holds_an_address(path: Path) -> None:
    assert not re.search(r"://|(?m:^\s*--?(?!hash)(?!c )\w)|@ ?[./]", path.read_text())


def test_the_run_time_lock_satisfies_the_project() -> None:
    assert not unmet([Requirement(line) for line in project()["run"]], lock("run"))


def test_the_build_lock_satisfies_the_build_system() -> None:
    assert not unmet([Requirement(line) for line in project()["build"]], lock("build"))


@pytest.mark.parametrize("name", SETS[1:])
def test_each_other_lock_satisfies_its_list(name: str) -> None:
    assert not unmet(wanted(FOLDER / f"{name}.in"), lock(name))


def test_no_two_locks_pin_different_versions() -> None:
    versions: dict[str, set[Version]] = {}
    for name in SETS:
        for pin in lock(name).values():
            versions.setdefault(pin.name, set()).add(pin.version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_the_project_asks_for_exactly_what_it_imports() -> None:
    distributions = packages_distributions()
    imported = {
        canonicalize_name(distribution)
        for path in package_files()
        for found in imported_modules(path.read_text())
        for distribution in distributions.get(found.text, [])
    } - {"moorage"}
    asked = {canonicalize_name(Requirement(line).name) for line in project()["run"]}
    # Distributions share the package opentelemetry, and bring each other.
    extra = {name for name in imported if name.startswith("opentelemetry-")}
    assert imported - asked - extra == set()
    assert {canonicalize_name(Requirement(line).name) for line in project()["otel"]} <= extra
    assert asked - imported <= DRIVERS


def test_a_line_without_hash_or_version_is_refused() -> None:
    for line in ("falcon==4.0", "falcon --hash=sha256:" + 64 * "0", "--index-url x", "falcon @ ./falcon"):
        with pytest.raises(ValueError, match="not a pin"):
            parse(line)


def test_a_pin_out_of_range_is_noticed() -> None:
    pins = parse("falcon==3.9 \\\n    --hash=sha256:" + 64 * "0" + "\n    # via x\n")
    assert unmet([Requirement("Falcon>=4")], pins) == ["Falcon>=4"]
    assert unmet([Requirement("absent")], pins) == ["absent"]
    assert unmet([Requirement("falcon>=3")], pins) == []

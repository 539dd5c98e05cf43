"""The locked requirements pin everything for every supported Python, name no address, have wheels, and fit
pyproject.toml and each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.table import each
from tests.tidy.locks import (
    FOLDER,
    MACHINES,
    SETS,
    Minor,
    Pin,
    environment,
    has_wheel,
    held,
    lock,
    parse,
    project,
    supported,
    unmet,
    wanted,
    wheels,
)
from tests.tidy.sources import imported_modules, package_files
from tools.wheels import table

DRIVERS = {"psycopg", "pymysql", "python-memcached"}
"""Named in database URLs and options only, so that nothing here imports them."""

HASH = " \\\n    --hash=sha256:" + 64 * "0" + "\n    # via x\n"

each_python = pytest.mark.parametrize("python", supported(), ids="3.{}".format)


def roots(name: str) -> Sequence[Requirement]:
    """What a set is made for."""
    return project()["run"] if name == "run" else wanted(name)


def needed(requirement: Requirement, python: Minor) -> Iterator[Requirement]:
    """What a requirement brings along on a Python, as the installed distribution tells."""
    extras = ("", *requirement.extras)
    try:
        lines = requires(requirement.name) or ()
    except PackageNotFoundError:
        # Only for other versions of Python than the one that runs this.
        return
    for brought in map(Requirement, lines):
        marker = brought.marker
        if marker is None or any(marker.evaluate({**environment(python), "extra": name}) for name in extras):
            brought.marker = None
            yield brought


def missing(name: str, python: Minor) -> set[str]:
    """What a set does not pin though something that it pins needs it."""
    pins = held(lock(name), python)
    waiting, seen, found = list(roots(name)), set[str](), set[str]()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) not in seen:
            seen.add(str(requirement))
            found |= set(unmet([requirement], pins, python))
            waiting = [*waiting, *needed(requirement, python)]
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_line_of_a_lock_is_pinned_by_hash(name: str) -> None:
    assert lock(name)
    assert all(pin.hashes for pin in lock(name))


@each("path", sorted(FOLDER.iterdir()))
def test_no_requirements_file_holds_an_address(path: Path) -> None:
    assert not re.search(r"://|(?m:^\s*--?(?!hash)(?!c )\w)|@ ?[./]", path.read_text())


@each_python
def test_the_locks_satisfy_what_they_are_made_for(python: Minor) -> None:
    left = {name: list(unmet(roots(name), held(lock(name), python), python)) for name in SETS}
    left["build-system"] = list(unmet(project()["build"], held(lock("build"), python), python))
    assert not {name: lines for name, lines in left.items() if lines}


@pytest.mark.slow
@each_python
@pytest.mark.parametrize("name", ["run", "build", "test"])
def test_a_lock_pins_all_that_its_distributions_need(name: str, python: Minor) -> None:
    assert missing(name, python) == set()


@each_python
def test_no_two_locks_pin_different_versions(python: Minor) -> None:
    versions: dict[str, set[str]] = {}
    for name in SETS:
        for pin in held(lock(name), python).values():
            versions.setdefault(pin.name, set()).add(str(pin.version))
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_the_table_of_wheels_is_about_what_is_locked() -> None:
    assert set(wheels()) == {str(pin) for name in SETS for pin in lock(name)}


def without_wheel(python: Minor, *names: str) -> list[str]:
    """Pins of some sets that some machine would have to compile."""
    pins = {str(pin) for name in names for pin in held(lock(name), python).values()}
    return sorted({pin for pin in pins for machine in MACHINES if not has_wheel(pin, python, machine)})


@each_python
def test_every_locked_distribution_has_a_wheel(python: Minor) -> None:
    assert without_wheel(python, *SETS) == []


def test_a_version_of_python_is_promised_as_soon_as_everything_has_a_wheel_for_it() -> None:
    following = max(supported()) + 1
    assert without_wheel(following, *SETS), (
        f"Everything that is locked has wheels for Python 3.{following}. Run the tests with it, then add its "
        "classifier to pyproject.toml and the version to README.md."
    )


def test_the_promised_versions_of_python_have_no_gap() -> None:
    assert supported() == list(range(min(supported()), max(supported()) + 1))


def test_the_project_asks_for_exactly_what_it_imports() -> None:
    distributions = packages_distributions()
    imported = {
        canonicalize_name(distribution)
        for path in package_files()
        for found in imported_modules(path.read_text())
        for distribution in distributions.get(found.text, [])
    } - {"moorage"}
    asked = {canonicalize_name(requirement.name) for requirement in project()["run"]}
    # Distributions share the package opentelemetry, and bring each other.
    extra = {name for name in imported if name.startswith("opentelemetry-")}
    assert imported - asked - extra == set()
    assert {canonicalize_name(requirement.name) for requirement in project()["otel"]} <= extra
    assert asked - imported <= DRIVERS


def test_a_line_without_hash_or_version_is_refused() -> None:
    for line in ("falcon==4.0", "falcon --hash=sha256:" + 64 * "0", "--index-url x", "falcon @ ./falcon"):
        with pytest.raises(ValueError, match="not a pin"):
            parse(line)


def pins(*lines: str, python: Minor = 13) -> dict[str, Pin]:
    return held(parse("".join(line + HASH for line in lines)), python)


def test_a_pin_out_of_range_is_noticed() -> None:
    wanted = [
        Requirement(line) for line in ("Falcon>=4", "absent", "falcon>=3", "old ; python_version < '3.13'")
    ]
    assert list(unmet(wanted, pins("falcon==3.9"), 13)) == ["Falcon>=4", "absent"]


def test_a_pin_for_another_python_does_not_count() -> None:
    lines = "numpy==2.4 ; python_full_version < '3.12'", "numpy==2.5 ; python_full_version >= '3.12'"
    assert [str(pins(*lines, python=python)["numpy"].version) for python in (11, 12)] == ["2.4", "2.5"]
    assert list(unmet([Requirement("numpy>=2.5")], pins(*lines, python=11), 11)) == ["numpy>=2.5"]
    assert list(unmet([Requirement("numpy>=2.5")], pins(*lines, python=12), 12)) == []
    with pytest.raises(ValueError, match="are both for"):
        pins("numpy==2.4", "numpy==2.5")


def test_the_table_names_what_a_linux_can_install() -> None:
    names = (
        "a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        "a-1-1-cp311-cp311-macosx_11_0_arm64.whl",
        "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
        "a-1-cp311-cp311-manylinux2014_armv7l.whl",
    )
    packages = [
        {"name": "a", "version": "1", "wheels": [{"url": f"scheme:/x/{name}#y"} for name in names]},
        {"name": "b", "version": "2", "wheels": [{"name": "b-2-py3-none-any.whl"}]},
        {"name": "c", "version": "3"},
    ]
    assert table([{"packages": packages}, {"packages": packages[1:]}]) == {
        "a==1": ["cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64"],
        "b==2": ["py3-none-any"],
        "c==3": [],
    }

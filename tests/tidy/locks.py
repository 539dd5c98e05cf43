"""The locks, read: which versions of which distributions, for which Python, with which wheels."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.tidy.sources import ROOT

FOLDER = ROOT / "requirements"
WHEELS = FOLDER / "wheels.tsv"
SETS = ("run", "pip", "build", "test", "docs", "lock", "audit")
MACHINES = ("x86_64", "aarch64")
GLIBC = 28
"""Wheels for this minor version of glibc 2 and older ones count: Debian 10 has it, and so has RHEL 8."""

PINNED = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^\s;]+)"
    r"(?: ; (?P<marker>[^\\]+?))?"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)$"
)

Minor = int
"""A version of Python, by its second number: 11 is 3.11."""


@dataclass(frozen=True)
class Pin:
    """One entry of a lock. A lock may have several of a name, for different versions of Python."""

    name: str
    version: Version
    marker: Marker | None
    hashes: int

    def holds(self, python: Minor) -> bool:
        """Whether it is meant for that Python, on a machine that Moorage runs on."""
        return self.marker is None or self.marker.evaluate(environment(python))

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def environment(python: Minor) -> dict[str, str]:
    """What markers are asked about: CPython of that version on Linux."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "python_version": f"3.{python}",
        "python_full_version": f"3.{python}.0",
        "implementation_version": f"3.{python}.0",
    }


def parse(text: str) -> list[Pin]:
    """All pins. Raises ValueError for a line that is anything but a pin with hashes."""
    pins = []
    joined = re.sub(r" *\\\n *", " ", re.sub(r"(?m)^ *#.*\n?", "", text))
    for line in filter(None, map(str.strip, joined.splitlines())):
        match = PINNED.match(line)
        if match is None:
            raise ValueError(f"not a pin with hashes: {line[:120]}")
        marker = None if match["marker"] is None else Marker(match["marker"])
        pins.append(Pin(match["name"], Version(match["version"]), marker, match["hashes"].count("sha256:")))
    return pins


@cache
def lock(name: str) -> list[Pin]:
    return parse((FOLDER / f"{name}.txt").read_text())


def held(pins: Iterable[Pin], python: Minor) -> dict[str, Pin]:
    """What is installed of ``pins`` by that Python. Raises ValueError if there are two of a name."""
    found: dict[str, Pin] = {}
    for pin in pins:
        if pin.holds(python):
            if pin.name in found:
                raise ValueError(f"{pin} and {found[pin.name]} are both for Python 3.{python}")
            found[pin.name] = pin
    return found


def wanted(name: str) -> list[Requirement]:
    """Requirements of the ``.in`` file of a set."""
    text = (FOLDER / f"{name}.in").read_text()
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-c ")]


def unmet(requirements: Iterable[Requirement], pins: Mapping[str, Pin], python: Minor) -> Iterator[str]:
    """Requirements of a Python that no pin satisfies."""
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate(environment(python)):
            continue
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
            yield str(requirement)


@cache
def project() -> Mapping[str, Sequence[Requirement]]:
    """What pyproject.toml asks for."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        content = tomllib.load(file)
    texts = {
        "run": content["project"]["dependencies"],
        "otel": content["project"]["optional-dependencies"]["otel"],
        "build": content["build-system"]["requires"],
    }
    return {name: tuple(map(Requirement, lines)) for name, lines in texts.items()}


@cache
def supported() -> list[Minor]:
    """The versions of Python that pyproject.toml promises."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    found = (re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", each) for each in classifiers)
    return [int(match[1]) for match in found if match]


@cache
def wheels() -> dict[str, list[str]]:
    """Tags of wheels by pin, from the table that `make lock` writes."""
    lines = (line for line in WHEELS.read_text().splitlines() if not line.startswith("#"))
    return {pin: tags.split() for pin, _, tags in (line.partition("\t") for line in lines)}


@cache
def installable(python: Minor, machine: str) -> frozenset[Tag]:
    """Tags of the wheels that CPython of that version can install on that machine."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms += [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")] + [f"linux_{machine}"]
    interpreter = f"cp3{python}"
    return frozenset(cpython_tags((3, python), [interpreter], platforms)) | frozenset(
        compatible_tags((3, python), interpreter, platforms)
    )


def has_wheel(pin: str, python: Minor, machine: str) -> bool:
    return any(not parse_tag(tag).isdisjoint(installable(python, machine)) for tag in wheels()[pin])

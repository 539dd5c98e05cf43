"""Finds unknown names in a configuration, each with the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from oslo_config import cfg

from moorage.wiring.config_files import ConfigFiles

DEFAULT_GROUP: Final = "DEFAULT"

FOREIGN_SECTIONS: Final[Mapping[str, str]] = {
    "profiler": "Moorage has no profiler; traces = true in [moorage] sends traces of OpenTelemetry",
}
"""Sections of Placement that Moorage accepts without effect, and why."""

LONG_PREFIX: Final = "OS_PLACEMENT_"

UNKNOWN: Final = "is unknown and has no effect."

Names = Mapping[str, frozenset[str]]
"""Names of options by section; sections without names are not checked."""


def names_of(options: Mapping[str, Iterable[cfg.Opt]]) -> dict[str, frozenset[str]]:
    """All names under which options are read, deprecated ones and their old sections included."""
    found: dict[str, set[str]] = {}
    for group, listed in options.items():
        for option in listed:
            found.setdefault(group, set()).update((option.name, option.dest))
            for old in option.deprecated_opts:
                found.setdefault(old.group or group, set()).add(old.name or option.dest)
    return {group: frozenset(names) for group, names in found.items()}


def unread(files: ConfigFiles, environment: Mapping[str, str], known: Names) -> list[str]:
    """A line for each section, option and variable that nothing reads."""
    lines: list[str] = []
    for path in _paths(files):
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(str(path), sections).parse()
        for section, options in sections.items():
            lines += _unread_in(section, options, known, f" ({path})")
    lines += _unread_variables(environment, known)
    return list(dict.fromkeys(lines))


def _paths(files: ConfigFiles) -> Iterator[Path]:
    yield from files.files
    for directory in files.directories:
        yield from sorted(directory.glob("*.conf"))


def _unread_in(section: str, options: Mapping[str, object], known: Names, place: str) -> Iterator[str]:
    group = next((each for each in known if each.lower() == section.lower()), None)
    foreign = FOREIGN_SECTIONS.get(section.lower())
    if foreign is not None:
        ignored = f" Ignored: {', '.join(options)}." if options else ""
        yield f"[{section}]{place} has no effect: {foreign}.{ignored}"
    elif group is None:
        yield f"[{section}]{place} {UNKNOWN}{_nearest_section(section, known)}"
    else:
        for name in options:
            if known[group] and name not in known[group]:
                yield f"[{section}] {name}{place} {UNKNOWN}{_nearest(group, name, known)}"


def _unread_variables(environment: Mapping[str, str], known: Names) -> Iterator[str]:
    for variable in sorted(environment):
        section, separator, name = variable.removeprefix(LONG_PREFIX).partition("__")
        if not variable.startswith(LONG_PREFIX) or not separator:
            continue
        # OS_<GROUP>__<OPTION>, which oslo.config reads, may have the same prefix.
        short = variable.removeprefix("OS_").partition("__")[0]
        groups = [each for each in known if each.upper() in (section, short)]
        if section.lower() in FOREIGN_SECTIONS or any(_is_read(name, known[each]) for each in groups):
            continue
        hint = (
            _nearest(groups[0], name.lower(), known) if groups else _nearest_section(section.lower(), known)
        )
        yield f"The variable {variable} {UNKNOWN}{hint}"


def _is_read(name: str, names: frozenset[str]) -> bool:
    return not names or any(each.upper() == name for each in names)


def _nearest_section(section: str, known: Names) -> str:
    found = difflib.get_close_matches(section, known, 1)
    return f" Is [{found[0]}] meant?" if found else ""


def _nearest(group: str, name: str, known: Names) -> str:
    """The nearest option of the section, or the section that has an option of just this name."""
    elsewhere = [other for other, names in known.items() if name in names]
    if elsewhere:
        return f" It belongs to [{elsewhere[0]}]."
    found = difflib.get_close_matches(name, sorted(known[group]), 1)
    return f" Is {found[0]} meant?" if found else ""

"""What runs on this host: processes that name their claim, and libvirt's domains.

A process names its claim in the variable MOORAGE_CLAIM, as those do that 'moorage run' starts.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from moorage.cli.client.sources.document import ReportDocument
from moorage.cli.shared.names import as_uuid

VARIABLE: Final = b"MOORAGE_CLAIM="

PROCESSES: Final = Path("/proc")

LIBVIRT_PLACES: Final = (Path("/run/libvirt"), Path("/var/run/libvirt"))
"""Where libvirt keeps its sockets, if it runs here."""

LIBVIRT_URI: Final = "qemu:///system"


def report(
    host: str,
    processes: Path = PROCESSES,
    libvirt_places: Iterable[Path] = LIBVIRT_PLACES,
    uri: str = LIBVIRT_URI,
) -> tuple[ReportDocument, list[str]]:
    """What runs here, as the tree ``host`` has it, and notes on what could not be seen.

    If something could not be seen, the report is not complete.
    """
    document, notes = ReportDocument(trees=[host]), list[str]()
    hidden = 0
    for claims in _claims(processes):
        if claims is None:
            hidden += 1
        for claim in claims or ():
            document.add(claim, host, None)
    if hidden:
        notes.append(
            f"{hidden} processes do not show their variables to this user, so the report is not complete. "
            "Run it as root."
        )
    domains = _domains(uri, libvirt_places)
    if isinstance(domains, str):
        notes.append(domains)
    else:
        for domain in domains:
            document.add(domain, host, None)
    document.complete = not notes
    return document, notes


def _claims(processes: Path) -> Iterator[list[str] | None]:
    """The claims that each process names; None for one that does not show its variables."""
    for place in sorted(processes.iterdir()):
        if place.name.isdecimal():
            try:
                content = (place / "environ").read_bytes()
            except PermissionError:
                yield None
            except OSError:
                continue  # it has ended
            else:
                yield _named_in(content)


def _named_in(variables: bytes) -> list[str]:
    found: list[str] = []
    for variable in variables.split(b"\0"):
        if variable.startswith(VARIABLE):
            words = variable.removeprefix(VARIABLE).decode(errors="replace").replace(",", " ").split()
            found += [word for word in words if as_uuid(word)]
    return found


def _domains(uri: str, places: Iterable[Path]) -> list[str] | str:
    """The running domains by UUID, or why they could not be listed."""
    if not any(place.exists() for place in places):
        return []
    try:
        libvirt: Any = importlib.import_module("libvirt")
    except ImportError:
        return "libvirt runs here, and its Python library is not installed, so the report is not complete."
    try:
        connection = libvirt.openReadOnly(uri)
        try:
            listed = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return [str(domain.UUIDString()) for domain in listed]
        finally:
            connection.close()
    except libvirt.libvirtError as error:
        return f"libvirt does not list its domains, so the report is not complete: {error}"

"""Detects two installed distributions that provide the names of OpenStack Placement."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import Final

NAMES: Final = "moorage-placement-names"
REFERENCE: Final = "openstack-placement"


def found(names: Iterable[str]) -> list[str]:
    """The distributions of ``names`` that are installed in this environment."""
    present = []
    for name in names:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        present.append(name)
    return present


def clash() -> str:
    """The error text if both distributions of these names are installed; empty if not."""
    if len(found((NAMES, REFERENCE))) < 2:
        return ""
    return (
        f"{NAMES} and {REFERENCE} are installed in the same environment. Both bring files of the same "
        f"names, and each has overwritten some of the other's. Remove both (pip uninstall {NAMES} "
        f"{REFERENCE}), then install the one that you need."
    )

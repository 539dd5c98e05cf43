"""What a verification of the account finds."""

from __future__ import annotations

from collections.abc import Iterable

from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class Finding:
    """Something in the account that is not as it should be.

    ``subject`` is the row or the thing in question, ``message`` what is wrong with it, as the rest of a
    sentence. A ``warning`` is worth knowing but allowed; anything else is a difference.
    """

    subject: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.subject} {self.message}"


@valueclass(frozen=True, slots=True)
class Check:
    """One check of a verification: what it examined, how much of it, and what it found."""

    name: str
    examined: int
    of: str
    findings: tuple[Finding, ...] = ()


@valueclass(frozen=True, slots=True)
class Verification:
    """All checks of one snapshot. ``followed`` counts the writes that happened meanwhile."""

    revision: int
    followed: int
    checks: tuple[Check, ...]

    @property
    def differences(self) -> int:
        """Number of findings that are differences."""
        return _count(self.checks, warning=False)

    @property
    def warnings(self) -> int:
        """Number of findings that are warnings."""
        return _count(self.checks, warning=True)


def _count(checks: Iterable[Check], *, warning: bool) -> int:
    return sum(finding.warning is warning for check in checks for finding in check.findings)

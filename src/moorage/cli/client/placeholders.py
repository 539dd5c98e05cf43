"""Variables of a command that name what it holds: ``CUDA_VISIBLE_DEVICES={PGPU.index}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moorage.cli.shared.show import natural
from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass

SEPARATOR: Final = ","
"""Between the values of several devices."""

CUDA_DEVICES: Final = "CUDA_VISIBLE_DEVICES"
CUDA_ORDER: Final = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
"""With numbers of devices CUDA must count them as ``moorage discover`` does; by default the fastest is 0."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART: Final = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")
_PLACEHOLDER: Final = re.compile(r"\{([A-Z][A-Z0-9_]*)\.([a-z]+)\}")
_NUMBER_AT_END: Final = re.compile(r"(?<!\d)\d{1,9}\Z")


@valueclass(frozen=True, slots=True)
class Device:
    """A provider that a claim holds ``amount`` of ``resource_class`` of. ``host`` is its root's name."""

    resource_class: str
    amount: int
    uuid: str
    name: str
    host: str

    @property
    def label(self) -> str:
        """Its name without that of its host, if it begins with it."""
        return self.name.removeprefix(self.host).lstrip("-_.:/ ") or self.name

    @property
    def index(self) -> str:
        """The number at the end of its name. Raises PlaceholderError if it is a host, or has none."""
        found = _NUMBER_AT_END.search(self.name)
        if self.name == self.host:
            raise PlaceholderError(
                f"{self.name} itself has {self.resource_class}, so there is no index: an index needs a "
                "provider for each device below the host, as 'moorage discover' makes them."
            )
        if found is None:
            raise PlaceholderError(f"The name {self.name} has no index: no number stands at its end.")
        return str(int(found[0]))


FIELDS: Final[Mapping[str, Callable[[Device], str]]] = {
    "index": lambda device: device.index,
    "name": lambda device: device.name,
    "label": lambda device: device.label,
    "uuid": lambda device: device.uuid,
    "host": lambda device: device.host,
    "amount": lambda device: str(device.amount),
}
"""What a placeholder may show of a device."""


@dataclass(eq=False)
class PlaceholderError(MoorageError):
    """A placeholder that stands for nothing."""

    reason: str
    template = "{reason}"


@valueclass(frozen=True, slots=True)
class EnvironmentVariable:
    """A variable to set. ``parts`` are texts, and pairs of a class and a field."""

    name: str
    parts: tuple[str | tuple[str, str], ...]

    @property
    def classes(self) -> frozenset[str]:
        """The resource classes that it names."""
        return frozenset(part[0] for part in self.parts if isinstance(part, tuple))

    def value(self, devices: Sequence[Device]) -> str:
        """Its value. Raises PlaceholderError."""
        return "".join(part if isinstance(part, str) else _shown(*part, devices) for part in self.parts)


def variable(text: str) -> EnvironmentVariable:
    """``NAME=TEXT`` with placeholders such as ``{PGPU.index}``; ``{{`` and ``}}`` stand for braces.

    Raises PlaceholderError.
    """
    name, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise PlaceholderError(f"'{text}' is not NAME=TEXT.")
    parts: list[str | tuple[str, str]] = []
    for piece in filter(None, _PART.split(value)):
        if piece in ("{{", "}}"):
            parts.append(piece[0])
        elif piece[0] not in "{}":
            parts.append(piece)
        else:
            found = _PLACEHOLDER.fullmatch(piece)
            if found is None or found[2] not in FIELDS:
                raise PlaceholderError(
                    f"'{piece}' in {name} is not {{CLASS.FIELD}} with a resource class and one of "
                    f"{', '.join(FIELDS)}. Write {{{{ and }}}} for braces."
                )
            parts.append((found[1], found[2]))
    return EnvironmentVariable(name, tuple(parts))


def check(variables: Iterable[EnvironmentVariable], classes: Collection[str]) -> None:
    """Raises PlaceholderError if a variable names a class that the request does not."""
    for each in variables:
        for name in sorted(each.classes - set(classes)):
            raise PlaceholderError(f"{each.name} names {name}, which the request does not ask for.")


def environment(
    present: Mapping[str, str],
    variables: Sequence[EnvironmentVariable],
    devices: Sequence[Device],
    **own: str,
) -> dict[str, str]:
    """``present`` with the values of ``variables``, and of ``own``. Raises PlaceholderError."""
    found = {**present, **own, **{each.name: each.value(devices) for each in variables}}
    shown = {part for each in variables if each.name == CUDA_DEVICES for part in each.parts}
    if any(isinstance(part, tuple) and part[1] == "index" for part in shown):
        found.setdefault(*CUDA_ORDER)
    return found


def _shown(resource_class: str, field: str, devices: Sequence[Device]) -> str:
    of_class = sorted(
        (each for each in devices if each.resource_class == resource_class),
        key=lambda each: natural(each.name),
    )
    if not of_class:
        raise PlaceholderError(f"Nothing of {resource_class} was claimed.")
    values = [FIELDS[field](each) for each in of_class]
    if field == "index" and len({each.host for each in of_class}) > 1:
        raise PlaceholderError(
            f"Several machines have what was claimed of {resource_class}: no index is one."
        )
    # What is the same for all, such as their host, is shown once.
    return SEPARATOR.join(dict.fromkeys(values) if field == "host" else values)

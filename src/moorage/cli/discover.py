"""``moorage discover``: this machine as a document for ``moorage load``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import click
import yaml

import moorage
from moorage.cli.client import syntax
from moorage.cli.discovery.disks import FileSystem, file_system
from moorage.cli.discovery.files import Files, numbers_in
from moorage.cli.discovery.machine import PGPU, Json, Wishes, document, host_name, look
from moorage.cli.discovery.pci import KINDS
from moorage.cli.shared import output

COLUMNS: Final = 110
"""Longest line of a comment."""

CUSTOM_CLASS: Final = re.compile("CUSTOM_[A-Z0-9_]+")

SYSTEM_MEMORY_MB: Final = 512
"""Memory that the operating system needs, at least. Nova reserves the same by default."""


def _processors(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> frozenset[int] | None:
    """Raises BadParameter."""
    if text is None:
        return None
    try:
        return numbers_in("" if text == "none" else text)
    except ValueError as error:
        raise click.BadParameter(f"{error}. Write processors as 2-7,10, or none.") from error


def _amounts(_context: click.Context, _parameter: click.Parameter, text: str | None) -> dict[str, int]:
    """Raises BadParameter."""
    return {} if text is None else syntax.amounts(text)


def _ratios(_context: click.Context, _parameter: click.Parameter, texts: Sequence[str]) -> dict[str, float]:
    """Raises BadParameter."""
    found = dict(map(syntax.weighted, texts))
    if any(ratio <= 0 for ratio in found.values()):
        raise click.BadParameter("A ratio is above 0.")
    return found


def _class(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """Raises BadParameter."""
    if text != PGPU and CUSTOM_CLASS.fullmatch(text) is None:
        raise click.BadParameter(f"'{text}' is neither {PGPU} nor a class of your own (CUSTOM_...).")
    return text


@click.command(short_help="Describe this machine for 'moorage load'.")
@click.option("--name", metavar="HOST", help="Name of the host.  [default: that of the machine]")
@click.option(
    "--numa",
    is_flag=True,
    help="A provider for each NUMA node, with its processors, memory and devices.",
)
@click.option(
    "--pci",
    "kinds",
    multiple=True,
    type=click.Choice(tuple(KINDS)),
    help="Also a provider for each PCI device of this kind. Repeatable.",
)
@click.option(
    "--gpu-class",
    metavar="CLASS",
    default=PGPU,
    show_default=True,
    callback=_class,
    help="Resource class of a GPU, for example CUSTOM_GPU.",
)
@click.option("--no-gpus", is_flag=True, help="Leave GPUs out.")
@click.option(
    "--dedicated",
    metavar="LIST",
    callback=_processors,
    help="Processors to offer as PCPU, such as 2-7,10, or none; the others are VCPU. "
    "Default: those that the kernel isolates.",
)
@click.option(
    "--reserve",
    "reserved",
    metavar="CLASS=AMOUNT,...",
    callback=_amounts,
    help=f"What the machine itself needs, evenly from all NUMA nodes. Default: MEMORY_MB={SYSTEM_MEMORY_MB}.",
)
@click.option(
    "--ratio",
    "ratios",
    metavar="CLASS=RATIO",
    multiple=True,
    callback=_ratios,
    help="Offer more than there is, for example VCPU=4. Repeatable.",
)
@click.option(
    "--trait", "traits", metavar="TRAIT", multiple=True, help="A further trait of the host. Repeatable."
)
@click.option(
    "--aggregate",
    "aggregates",
    metavar="AGGREGATE",
    multiple=True,
    help="An aggregate of the host. Repeatable.",
)
@click.option(
    "--disk-at",
    metavar="DIRECTORY",
    help="Offer the file system that this directory is on as DISK_GB, in place of whole disks.",
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    show_default=True,
    help="The root of the file system to read, with its /proc and /sys.",
)
@output.format_options
def discover(
    name: str | None,
    numa: bool,
    kinds: tuple[str, ...],
    gpu_class: str,
    no_gpus: bool,
    dedicated: frozenset[int] | None,
    reserved: dict[str, int],
    ratios: dict[str, float],
    traits: tuple[str, ...],
    aggregates: tuple[str, ...],
    disk_at: str | None,
    root: Path,
) -> None:
    """Print what this machine has as a document for 'moorage load', for example

    moorage discover | moorage load -

    It has processors, memory, local disks and GPUs, with standard resource classes and traits. Each GPU is a
    provider below the host: HOST-nvidia0 is the one that CUDA calls 0 with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    Nothing is written, and no service is asked. A comment says how each figure was chosen. What could not be
    seen is a comment too, and a line on stderr.
    """
    called = name or host_name(root)
    if called is None:
        raise click.UsageError("No file names this machine. --name HOST does.")
    machine, unseen = look(root, _nvml() if Files(root).are_of_this_machine and not no_gpus else None)
    if not reserved and machine.memory.total:
        reserved = {"MEMORY_MB": min(SYSTEM_MEMORY_MB, machine.memory.total)}
    wishes = Wishes(
        called,
        numa=numa,
        kinds=kinds,
        gpu_class=gpu_class,
        gpus=not no_gpus,
        dedicated=dedicated,
        reserved=reserved,
        ratios=ratios,
        traits=traits,
        aggregates=aggregates,
        disk_at=None if disk_at is None else _file_system(root, disk_at),
    )
    found, chosen = document(machine, wishes)
    for line in unseen:
        click.echo(f"Not seen: {line}.", err=True)
    output.show(found, lambda: click.echo("\n".join(_lines(found, chosen, unseen))))


def _file_system(root: Path, directory: str) -> FileSystem:
    """Raises BadParameter."""
    try:
        return file_system(Files(root), directory)
    except OSError as error:
        raise click.BadParameter(
            f"{directory} cannot be looked at: {error.strerror}.", param_hint="--disk-at"
        ) from error


def _nvml() -> Any:
    """The module of the library nvidia-ml-py, None if it is not installed."""
    try:
        return import_module("pynvml")
    except ImportError:
        return None


def _lines(found: Json, chosen: Sequence[str], unseen: Sequence[str]) -> Iterator[str]:
    """The document in YAML, after comments."""
    told = [
        f"As 'moorage discover' of Moorage {moorage.__version__} has found this machine, for 'moorage load'.",
        *chosen,
        "Traits are complete: 'moorage load' removes others. --trait adds one.",
        *(f"Not seen: {line}." for line in unseen),
    ]
    for text in told:
        yield from (f"# {line}" for line in wrap(text, COLUMNS - 2))
    yield ""
    # Short lists and mappings stand on one line.
    text = yaml.safe_dump(found, sort_keys=False, default_flow_style=None, width=COLUMNS, allow_unicode=True)
    yield from text.splitlines()

"""Reading a file for ``moorage load`` and carrying it out through a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from moorage.cli.document import Document
from moorage.cli.parsing import BadFileError, parse
from moorage.cli.plan import Present, PresentDetails, Step, plan, uuids_of
from moorage.cli.reading import Problem
from moorage.model.errors import (
    ConfigurationError,
    ConsumerGenerationError,
    MoorageError,
    NotFoundError,
    ProviderExistsError,
    ProviderHasChildrenError,
    ProviderInUseError,
    StaleGenerationError,
    UnavailableError,
)
from moorage.model.requests import ProviderFilter
from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.service.facade import Service

LOADER: Final = Requester(user_id="moorage-load")
"""Who the change log says has asked."""

MAX_FILE_BYTES: Final = 512 * 1024 * 1024
"""Largest file that is read: it is held in memory as nodes of some hundred bytes each."""

WRITERS: Final = 8
"""Trees written at the same time: their commands share commits, and so one wait for the disk."""

MAX_PASSES: Final = 3
"""How often the file is compared and carried out while other clients change the same providers."""

CREATE_OR_UPDATE: Final = frozenset({"create", "update"})

_MAY_WORK_LATER: Final = (
    StaleGenerationError,
    ConsumerGenerationError,
    NotFoundError,
    # The name may belong to a provider that the same file renames.
    ProviderExistsError,
)
"""Refusals that a new comparison can make good."""

Advance = Callable[[], None]
"""Called after each step, from any thread."""


@valueclass(frozen=True, slots=True)
class Refusal:
    """A step that was not done, and why. ``stale``: somebody else was faster; again it may work."""

    step: Step
    reason: str
    stale: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of a plan."""

    done: list[Step] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def stale(self) -> bool:
        return any(refusal.stale for refusal in self.refused)


def read_document(path: Path) -> Document:
    """The file's document. Raises BadFileError, and ConfigurationError if it cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_FILE_BYTES} bytes.")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadFileError(str(path), (Problem(line, "not valid UTF-8"),)) from error
    return parse(text, str(path))


def read_present(service: Service, document: Document) -> Present:
    """The service's state as far as ``document`` is about it."""
    providers = tuple(service.providers(ProviderFilter()))
    named = frozenset(uuids_of(document, providers).values())
    details: dict[str, PresentDetails] = {}
    for provider in providers:
        if provider.uuid not in named:
            continue
        try:
            details[provider.uuid] = read_details(service, provider.uuid)
        except NotFoundError:
            # Deleted since the list was read: the plan updates it, is refused, and is made anew.
            continue
    return Present(
        providers=providers,
        details=details,
        consumers={entry.uuid: service.consumer_allocations(entry.uuid) for entry in document.consumers},
        traits=frozenset(item.name for item in service.traits()),
        resource_classes=frozenset(item.name for item in service.resource_classes()),
    )


def read_details(service: Service, uuid: str) -> PresentDetails:
    """What one provider has. Raises ProviderNotFoundError."""
    inventories = service.provider_inventories(uuid)
    traits = service.provider_traits(uuid)
    aggregates = service.provider_aggregates(uuid)
    return PresentDetails(
        generation=min(inventories.generation, traits.generation, aggregates.generation),
        inventories=inventories.inventories,
        traits=frozenset(traits.traits),
        aggregates=frozenset(aggregates.aggregates),
    )


def load(
    service: Service,
    document: Document,
    *,
    prune: bool = False,
    begin: Callable[[Sequence[Step]], Advance] = lambda _: lambda: None,
) -> Outcome:
    """Carry ``document`` out; what is the same already is not written.

    ``begin`` is told each pass's steps and answers what to call after each one. Where other
    clients were faster the comparison is made again, MAX_PASSES times at most.
    """
    outcome = Outcome()
    for _ in range(MAX_PASSES):
        steps = plan(document, read_present(service, document), prune=prune)
        latest = carry_out(service, steps, begin(steps))
        outcome = Outcome(outcome.done + latest.done, latest.refused)
        if not latest.stale:
            break
    return outcome


def carry_out(service: Service, steps: Sequence[Step], advance: Advance) -> Outcome:
    """Do every step; a refused one is noted, those that need it are too, and the others go on."""
    run = _Run(service, advance)
    trees = _by_tree([step for step in steps if step.action in CREATE_OR_UPDATE])
    with ThreadPoolExecutor(WRITERS) as pool:
        # list() also hands on what went wrong beyond a refusal.
        list(pool.map(run.steps, trees))
    # What is given back may be what another consumer of the file needs.
    run.steps([step for step in steps if step.action == "release"])
    run.steps([step for step in steps if step.action == "claim"])
    run.steps([step for step in steps if step.action == "delete"])
    order = {step.uuid: position for position, step in enumerate(steps)}
    run.outcome.refused.sort(key=lambda refusal: order[refusal.step.uuid])
    return run.outcome


@dataclass(slots=True)
class _Run:
    service: Service
    advance: Advance
    outcome: Outcome = field(default_factory=Outcome)
    missing: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            refusal = self._one(step)
            with self.lock:
                if refusal is None:
                    self.outcome.done.append(step)
                else:
                    self.outcome.refused.append(refusal)
                    if step.action == "create":
                        self.missing.add(step.uuid)
                self.advance()

    def _one(self, step: Step) -> Refusal | None:
        if not self.missing.isdisjoint(step.needs):
            return Refusal(step, "it needs a provider that was refused")
        try:
            self.service.execute(step.command, LOADER)
        except UnavailableError:
            # The rest would fail alike, each after a wait; what was done stays, a second run goes on.
            raise
        except _MAY_WORK_LATER as error:
            return Refusal(step, str(error), stale=True)
        except ProviderInUseError:
            return Refusal(step, "consumers hold allocations of it")
        except ProviderHasChildrenError:
            return Refusal(step, "it has child providers that stay")
        except MoorageError as error:
            return Refusal(step, str(error))
        return None


def _by_tree(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps that build on each other together, in order."""
    trees: list[list[Step]] = []
    tree_of: dict[str, list[Step]] = {}
    for step in steps:
        tree = next((tree_of[uuid] for uuid in step.needs if uuid in tree_of), None)
        if tree is None:
            tree = []
            trees.append(tree)
        tree.append(step)
        tree_of[step.uuid] = tree
    return trees

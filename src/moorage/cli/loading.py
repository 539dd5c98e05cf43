"""Reads a file for ``moorage load``, and carries it out through a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, Protocol

from moorage.cli.client.connection import RefusedError, ServiceError
from moorage.cli.document import ConsumerEntry, Document
from moorage.cli.parsing import BadFileError, parse
from moorage.cli.plan import Present, PresentDetails, Step, plan, uuids_of
from moorage.cli.reading import Problem
from moorage.model.commands import Command
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
from moorage.model.values import (
    ConsumerAllocations,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderInventories,
    ProviderTraits,
    Requester,
)

LOADER: Final = Requester(user_id="moorage-load", path="command")
"""The requester of these writes in the change log."""

NOT_FOUND: Final = 404
SERVER_FAULT: Final = 500
DUPLICATE_NAME: Final = "placement.duplicate_name"

MAX_FILE_BYTES: Final = 512 * 1024 * 1024
"""Largest file that is read: it is held in memory as nodes of some hundred bytes each."""

STANDARD_INPUT: Final = "stdin"
"""The name of the standard input in messages."""

WRITERS: Final = 8
"""Trees written at the same time: their commands share commits, and so wait for the disk together."""

MAX_PASSES: Final = 3
"""How often in a row the file is compared again without progress because other clients change the same."""

MOST_PASSES: Final = 100
"""Most comparisons in all: the command ends even if other clients undo each change."""

CREATE_OR_UPDATE: Final = frozenset({"create", "update"})

_MAY_WORK_LATER: Final = (
    StaleGenerationError,
    ConsumerGenerationError,
    NotFoundError,
    # The name may belong to a provider that the same file renames.
    ProviderExistsError,
)
"""Refusals after which a new comparison can succeed."""

IN_WORDS: Final[Mapping[str, str]] = {
    "placement.inventory.inuse": "consumers hold some of an inventory that it removes",
    "placement.resource_provider.inuse": "consumers hold allocations of it",
    "placement.resource_provider.cannot_delete_parent": "it has child providers that stay",
}
"""Why a service refuses a step over HTTP, by the code of its error."""


class Account(Protocol):
    """The target of a file: a service in this process, or one over HTTP.

    Every method raises what the service's facade raises.
    """

    def providers(self, wanted: ProviderFilter, /) -> Sequence[Provider]: ...
    def provider_inventories(self, uuid: str, /) -> ProviderInventories: ...
    def provider_traits(self, uuid: str, /) -> ProviderTraits: ...
    def provider_aggregates(self, uuid: str, /) -> ProviderAggregates: ...
    def consumer_allocations(self, consumer: str, /) -> ConsumerAllocations: ...
    def owner_as_kept(self, project_id: str, user_id: str, /) -> tuple[str | None, str | None]: ...
    def traits(self) -> Sequence[NamedItem]: ...
    def resource_classes(self) -> Sequence[NamedItem]: ...
    def execute(self, command: Command[Any], requester: Requester, /) -> object: ...


Advance = Callable[[], None]
"""Called after each step, from any thread."""


@valueclass(frozen=True, slots=True)
class RefusedStep:
    """A step that was not done, and why. ``stale``: another client was faster; a new attempt may succeed."""

    step: Step
    reason: str
    stale: bool = False


@dataclass(slots=True)
class LoadOutcome:
    """The result of a plan."""

    done: list[Step] = field(default_factory=list)
    refused: list[RefusedStep] = field(default_factory=list)

    @property
    def stale(self) -> bool:
        return any(refusal.stale for refusal in self.refused)


def read_standard_input(stream: BinaryIO) -> Document:
    """The document from standard input. Raises BadFileError, ConfigurationError."""
    content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"The standard input is larger than {MAX_FILE_BYTES} bytes.")
    return _document(content, STANDARD_INPUT)


def read_document(path: Path) -> Document:
    """The file's document. Raises BadFileError, and ConfigurationError if it cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_FILE_BYTES} bytes.")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    return _document(content, str(path))


def _document(content: bytes, name: str) -> Document:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadFileError(name, (Problem(line, "not valid UTF-8"),)) from error
    return parse(text, name)


def read_present(service: Account, document: Document) -> Present:
    """The part of the service's state that ``document`` describes."""
    providers = tuple(service.providers(ProviderFilter()))
    named = frozenset(uuids_of(document, providers).values())
    details: dict[str, PresentDetails] = {}
    for provider in providers:
        if provider.uuid not in named:
            continue
        try:
            details[provider.uuid] = read_details(service, provider.uuid)
        except NotFoundError:
            # Deleted since the list was read: the update will be refused, and the plan made again.
            continue
    return Present(
        providers=providers,
        details=details,
        consumers={entry.uuid: _held(service, entry) for entry in document.consumers},
        traits=frozenset(item.name for item in service.traits()),
        resource_classes=frozenset(item.name for item in service.resource_classes()),
    )


def _held(service: Account, entry: ConsumerEntry) -> ConsumerAllocations:
    """What a consumer holds; the owner is spelled as in the file if the database considers both equal."""
    held = service.consumer_allocations(entry.uuid)
    wanted, found = (entry.project_id, entry.user_id), (held.project_id, held.user_id)
    if held.providers and wanted != found and service.owner_as_kept(*wanted) == found:
        return replace(held, project_id=entry.project_id, user_id=entry.user_id)
    return held


def read_details(service: Account, uuid: str) -> PresentDetails:
    """The parts of one provider. Raises ProviderNotFoundError."""
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
    service: Account,
    document: Document,
    *,
    prune: bool = False,
    begin: Callable[[Sequence[Step]], Advance] = lambda _: lambda: None,
) -> LoadOutcome:
    """Carry ``document`` out; only differences are written.

    ``begin`` receives the steps of each pass, and returns a function to call after each step. The comparison
    is repeated if other clients changed the same, at most MAX_PASSES times. It is also repeated if a step was
    refused while others succeeded, because these may have made room for it. So a second run of the same file
    has nothing to write.
    """
    outcome = LoadOutcome()
    in_vain = 0
    for _ in range(MOST_PASSES):
        steps = plan(document, read_present(service, document), prune=prune)
        latest = carry_out(service, steps, begin(steps))
        outcome = LoadOutcome(outcome.done + latest.done, latest.refused)
        if not latest.refused:
            break
        in_vain = 0 if latest.done else in_vain + 1
        if in_vain and (in_vain == MAX_PASSES or not latest.stale):
            break
    return outcome


def carry_out(service: Account, steps: Sequence[Step], advance: Advance) -> LoadOutcome:
    """Do every step. Refused steps are recorded with those that need them, and the others go on."""
    run = _Run(service, advance)
    trees = _by_tree([step for step in steps if step.action in CREATE_OR_UPDATE])
    with ThreadPoolExecutor(WRITERS) as pool:
        # list() also raises errors other than refusals.
        list(pool.map(run.steps, trees))
    # Releases come first: another consumer of the file may need what they free.
    run.steps([step for step in steps if step.action == "release"])
    run.steps([step for step in steps if step.action == "claim"])
    run.steps([step for step in steps if step.action == "delete"])
    order = {step.uuid: position for position, step in enumerate(steps)}
    run.outcome.refused.sort(key=lambda refusal: order[refusal.step.uuid])
    return run.outcome


@dataclass(slots=True)
class _Run:
    service: Account
    advance: Advance
    outcome: LoadOutcome = field(default_factory=LoadOutcome)
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

    def _one(self, step: Step) -> RefusedStep | None:
        if not self.missing.isdisjoint(step.needs):
            return RefusedStep(step, "it needs a provider that was refused")
        try:
            self.service.execute(step.command, LOADER)
        except UnavailableError:
            # All other steps would fail as well, each after a wait. Completed steps stay, and a second run
            # continues.
            raise
        except _MAY_WORK_LATER as error:
            return RefusedStep(step, str(error), stale=True)
        except RefusedError as error:
            if error.status >= SERVER_FAULT:
                raise
            may_work_later = error.lost_a_race or error.status == NOT_FOUND or error.code == DUPLICATE_NAME
            return RefusedStep(step, IN_WORDS.get(error.code, str(error)), stale=may_work_later)
        except ServiceError:
            raise
        except ProviderInUseError:
            return RefusedStep(step, "consumers hold allocations of it")
        except ProviderHasChildrenError:
            return RefusedStep(step, "it has child providers that stay")
        except MoorageError as error:
            return RefusedStep(step, str(error))
        return None


def _by_tree(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps grouped by tree, so that dependent steps stay together in order."""
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

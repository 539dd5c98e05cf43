"""A mirror against the real application: it equals the service after all that happens to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from moorage_client import (
    AccountChange,
    AnswerTimeoutError,
    BusyError,
    CompactedError,
    End,
    ForbiddenError,
    Mirror,
    MirrorError,
    Moorage,
    NoNativeApiError,
    NotFoundError,
    Provider,
    Token,
    TooLargeError,
    UnreachableError,
    UnusableAnswerError,
)
from moorage_client import mirror as mirrors
from moorage_client.account import Account, MismatchError
from moorage_client.transport import LINES_TYPE, PROBLEM_TYPE

from moorage.model.commands import (
    AttachClaim,
    CreateResourceClass,
    DeleteProvider,
    DetachClaim,
    EndLease,
    GrantLease,
    ReleaseClaims,
    RenameResourceClass,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.journal import JournalMode
from moorage.service import watching
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import MEMORY, VCPU, add_provider, claim, inventories, new_uuid, order
from tests.oracle.mirrored import comparable_claims, comparable_providers
from tests.unit.native_client.conftest import Said, saying, sharing

SECONDS = 60.0
"""Nothing takes so long."""


@pytest.fixture
def url(sqlite_service: Service) -> Iterator[str]:
    """The address of a native API that shares its service with the test."""
    with sharing(sqlite_service) as address:
        yield address


@pytest.fixture
def moorage(url: str) -> Iterator[Gated]:
    """A client whose streams and pages wait for the test, if it wants that."""
    client = Gated(url)
    yield client
    client.close()


class Gated(Moorage):
    """Lets a test hold the next request for changes back, or answer in place of the service."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gate = threading.Event()
        self.gate.set()
        self.arrived, self.opened = threading.Event(), threading.Event()
        self.errors: list[Exception] = []
        self.streams: list[Any] = []

    def change_stream(self, **parameters: Any) -> Any:
        self._pass()
        stream = super().change_stream(**parameters)
        self.streams.append(stream)
        self.opened.set()
        return stream

    def change_page(self, **parameters: Any) -> Any:
        if "wait" in parameters:
            self._pass()
        return super().change_page(**parameters)

    def _pass(self) -> None:
        self.arrived.set()
        assert self.gate.wait(SECONDS)
        if self.errors:
            raise self.errors.pop(0)

    def cut(self) -> None:
        """Break the stream off, as a network does, and hold the next request back."""
        self.gate.clear()
        self.arrived.clear()
        assert self.streams, "the mirror has not asked yet"
        socket.socket.shutdown(self.streams[-1]._lines._sock, socket.SHUT_RDWR)
        assert self.arrived.wait(SECONDS)


def following(moorage: Gated, **options: Any) -> Mirror:
    """A mirror that has opened its stream."""
    mirror = Mirror(moorage, **options).start()
    assert moorage.opened.wait(SECONDS)
    return mirror


def read(moorage: Moorage) -> dict[str, Provider]:
    fields = ("inventories", "used", "traits", "aggregates", "generation", "parent")
    return comparable_providers(moorage.providers(fields=fields))


def assert_equal(mirror: Mirror, moorage: Moorage, service: Service) -> None:
    """The mirror equals the service, in its indices too."""
    assert mirror.wait_for(service.revision(), SECONDS)
    expected = read(moorage)
    with mirror.still() as revision:
        assert revision == service.revision()
        assert comparable_providers(mirror.providers()) == expected
        assert comparable_claims(mirror.claims()) == comparable_claims(moorage.claims())
        assert len(mirror) == len(expected) + len(mirror.claims())
        for uuid, provider in expected.items():
            assert mirror.provider_named(provider.name) == mirror.provider(uuid)
            children = {each.uuid for each in expected.values() if each.parent == uuid}
            assert {each.uuid for each in mirror.children(uuid)} == children
            tree = {each.uuid for each in expected.values() if each.root == provider.root}
            assert {each.uuid for each in mirror.tree(uuid)} == tree
            on = {each.consumer for each in mirror.claims() if uuid in each.providers}
            assert {each.consumer for each in mirror.claims_on(uuid)} == on


@pytest.mark.parametrize("stream", [True, False])
def test_a_mirror_equals_the_service_after_writes_of_all_kinds(
    stream: bool, moorage: Gated, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "WAIT_SECONDS", 0)
    service = sqlite_service
    root = add_provider(service, "host", VCPU=8, MEMORY_MB=64)
    child = add_provider(service, "numa", root, traits=("HW_CPU_X86_AVX2",), VCPU=4)
    other = add_provider(service, "other", VCPU=2)
    held, gone = new_uuid(), new_uuid()
    order(service, claim(held, {root: {VCPU: 2}, child: {VCPU: 1}}))
    seen: list[AccountChange] = []
    with Mirror(moorage, page_size=1, stream=stream, on_change=seen.append) as mirror:
        assert_equal(mirror, moorage, service)
        begun = mirror.revision
        assert mirror.free(VCPU) == {root: 6, child: 3, other: 2}
        order(service, claim(gone, {other: {VCPU: 2}}))
        order(service, claim(held, {root: {MEMORY: 4}}, generation=1))
        order(service, UpdateProvider(child, "renamed", other))
        order(service, CreateResourceClass("CUSTOM_GOLD"))
        order(service, SetInventories(child, service_generation(moorage, child), inventories(CUSTOM_GOLD=3)))
        order(service, claim(new_uuid(), {child: {"CUSTOM_GOLD": 2}}))
        order(service, RenameResourceClass("CUSTOM_GOLD", "CUSTOM_SILVER"))
        assert_equal(mirror, moorage, service)
        assert mirror.free("CUSTOM_SILVER") == {child: 1}
        assert mirror.free("CUSTOM_GOLD") == {}
        order(service, ReleaseClaims((gone,)))
        order(service, SetTraits(other, service_generation(moorage, other), frozenset()))
        add_provider(service, "new", child, MEMORY_MB=8)
        order(service, DeleteProvider(add_provider(service, "short-lived")))
        assert_equal(mirror, moorage, service)
        assert mirror.provider("nobody") is mirror.provider_named("nobody") is mirror.claim(gone) is None
        assert mirror.tree("nobody") == mirror.children("nobody") == ()
        assert (mirror.rebuilds, mirror.cuts, mirror.has_claims) == ({}, 0, True)
        assert mirror.age < SECONDS
        assert not mirror.wait_for(mirror.revision + 1, 0.0)
        last = mirror.revision
    assert [change.revision for change in seen] == list(range(begun + 1, last + 1))
    assert mirror._thread is not None
    mirror._thread.join(SECONDS)
    with pytest.raises(MirrorError, match="closed"):
        mirror.providers()


def service_generation(moorage: Moorage, uuid: str) -> int:
    [provider] = moorage.providers(ids=[uuid], fields=["generation"])
    assert provider.generation is not None
    return provider.generation


def test_pages_of_different_revisions_make_one_account(
    moorage: Gated, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes between the pages: of what was read, of what is still to be read, and of what never is."""
    service = sqlite_service
    uuids = sorted(add_provider(service, VCPU=8) for _ in range(3))
    consumers = [new_uuid(), new_uuid()]
    order(service, claim(consumers[0], {uuids[0]: {VCPU: 1}}))
    order(service, CreateResourceClass("CUSTOM_GOLD"))
    between: list[Callable[[], object]] = [
        lambda: order(service, claim(consumers[1], {uuids[0]: {VCPU: 2}, uuids[2]: {VCPU: 1}})),
        lambda: order(service, UpdateProvider(uuids[1], "other name")),
        lambda: order(service, ReleaseClaims((consumers[0],))),
        lambda: order(service, RenameResourceClass("CUSTOM_GOLD", "CUSTOM_SILVER")),
        lambda: order(service, DeleteProvider(add_provider(service, "between"))),
        lambda: order(service, claim(consumers[0], {uuids[2]: {VCPU: 3}})),
    ]
    real = Gated.provider_page

    def page(self: Gated, **parameters: Any) -> Any:
        found = real(self, **parameters)
        for _ in range(2):
            if between:
                between.pop(0)()
        return found

    monkeypatch.setattr(Gated, "provider_page", page)
    with Mirror(moorage, page_size=1) as mirror:
        assert not between
        assert_equal(mirror, moorage, service)
        assert mirror.provider_named("other name") is not None
        assert mirror.rebuilds == {}


def test_after_a_cut_it_goes_on_where_it_was(moorage: Gated, sqlite_service: Service) -> None:
    seen: list[int] = []
    uuid = add_provider(sqlite_service, VCPU=8)
    with following(moorage, on_change=lambda change: seen.append(change.revision)) as mirror:
        first = mirror.revision
        moorage.cut()
        for _ in range(3):
            order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
        moorage.errors.append(UnreachableError("once more"))
        moorage.gate.set()
        assert_equal(mirror, moorage, sqlite_service)
        assert seen == [first + 1, first + 2, first + 3]
        assert (mirror.rebuilds, mirror.cuts) == ({}, 2)


@pytest.mark.parametrize("reason", ["compacted", "different_history"])
def test_what_the_journal_does_not_tell_is_read_anew_and_told(
    reason: str, moorage: Gated, sqlite_service: Service, sqlite_store: Store
) -> None:
    told: list[str] = []
    rebuilt = threading.Event()

    def on_rebuild(reason: str) -> None:
        told.append(reason)
        rebuilt.set()

    uuid = add_provider(sqlite_service, VCPU=8)
    with following(moorage, on_rebuild=on_rebuild) as mirror:
        epoch = mirror.epoch
        moorage.cut()
        for _ in range(3):
            order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
        if reason == "compacted":
            sqlite_store.compact_journal(1, 1e9, 0)
        else:
            sqlite_store.new_history()
        moorage.gate.set()
        assert rebuilt.wait(SECONDS)
        assert_equal(mirror, moorage, sqlite_service)
        assert (told, mirror.rebuilds) == ([reason], {reason: 1})
        assert (mirror.epoch == epoch) == (reason == "compacted")
        order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
        assert_equal(mirror, moorage, sqlite_service)


def test_a_history_that_begins_while_it_listens_is_told(
    moorage: Gated, sqlite_service: Service, sqlite_store: Store
) -> None:
    rebuilt = threading.Event()
    with following(moorage, on_rebuild=lambda _: rebuilt.set()) as mirror:
        sqlite_store.new_history()
        assert rebuilt.wait(SECONDS)
        assert_equal(mirror, moorage, sqlite_service)
        assert mirror.epoch == sqlite_store.epoch()


def test_the_end_of_a_stream_is_no_failure(
    moorage: Gated, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``again`` goes on at once; a service that stops gets a moment."""
    ends = ["stopping", "compacted", "again"]
    real = watching.Following._reason
    monkeypatch.setattr(
        watching.Following,
        "_reason",
        lambda self: ends.pop(0) if ends and not self._is_first else real(self),
    )
    uuid = add_provider(sqlite_service, VCPU=8)
    with Mirror(moorage) as mirror:
        for _ in range(5):
            order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
            assert_equal(mirror, moorage, sqlite_service)
        assert not ends
        assert (mirror.rebuilds, mirror.cuts) == ({}, 0)


def test_claims_hang_on_leases_and_on_none_that_was_released(moorage: Gated, sqlite_service: Service) -> None:
    uuid = add_provider(sqlite_service, VCPU=8)
    consumers = [new_uuid() for _ in range(3)]
    first, second = (
        order(sqlite_service, GrantLease(new_uuid(), "agent", "p", "u", 60_000, 0)).lease.uuid
        for _ in range(2)
    )
    with Mirror(moorage) as mirror:
        for consumer in consumers:
            order(sqlite_service, claim(consumer, {uuid: {VCPU: 1}}))
            order(sqlite_service, AttachClaim(first, consumer))
            assert_equal(mirror, moorage, sqlite_service)
        order(sqlite_service, AttachClaim(second, consumers[0]))
        order(sqlite_service, DetachClaim(first, consumers[1]))
        assert_equal(mirror, moorage, sqlite_service)
        assert [mirror.claim(each).lease for each in consumers] == [second, None, first]  # type: ignore[union-attr]
        # Its claims stay.
        order(sqlite_service, EndLease(first, keeps_claims=True))
        assert_equal(mirror, moorage, sqlite_service)
        order(sqlite_service, ReleaseClaims((consumers[0],)))
        assert_equal(mirror, moorage, sqlite_service)
        assert mirror.rebuilds == {}


def test_a_change_that_does_not_go_on_from_the_copy_makes_it_anew(
    moorage: Gated, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.001)
    uuid, consumer = add_provider(sqlite_service, VCPU=8), new_uuid()
    told = threading.Event()
    reasons: list[str] = []

    def on_rebuild(reason: str) -> None:
        reasons.append(reason)
        told.set()

    with following(moorage, on_rebuild=on_rebuild) as mirror:
        for spoil in (
            lambda account: account._set_provider(uuid, None),
            lambda account: account._set_provider(uuid, replace(account.providers[uuid], generation=99)),
            lambda account: setattr(account, "revision", account.revision - 2),
        ):
            with mirror.still():
                spoil(mirror._account)
            order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
            assert told.wait(SECONDS)
            told.clear()
            assert_equal(mirror, moorage, sqlite_service)
        order(sqlite_service, claim(consumer, {uuid: {VCPU: 1}}))
        assert_equal(mirror, moorage, sqlite_service)
        with mirror.still():
            mirror._account._set_claim(consumer, None)  # type: ignore[union-attr]
        order(sqlite_service, ReleaseClaims((consumer,)))
        assert_equal(mirror, moorage, sqlite_service)
    assert reasons == ["mismatch"] * 3


def test_what_has_gone_before_its_page_was_read_takes_no_change() -> None:
    """And what has come and gone leaves its name to what has it now."""
    ghost, present, consumer = new_uuid(), new_uuid(), new_uuid()
    account = Account("epoch", 0, claims=True)
    account.add_providers([Provider(present, "name", present, {}, {}, (), (), 5)], 5)
    account.add_claims([], 5)

    def take(revision: int, **body: Any) -> None:
        told = {"revision": revision, "kind": "k", "at": "t", "path": "p", "by": {}, **body}
        account.apply(AccountChange.of(told))

    owner = {"project_id": ["p", "p"], "generation": [1, 2]}
    gone = {"generation": [1, 2], "tree": ghost}
    take(1, providers={ghost: gone}, consumers={consumer: owner})
    take(2, providers={ghost: {"generation": [2, None]}}, consumers={consumer: {"project_id": ["p", None]}})
    made = {"generation": [None, 0], "name": [None, "name"], "root": [None, ghost], "parent": [None, None]}
    take(3, providers={ghost: made})
    take(4, providers={ghost: {"generation": [0, None]}})
    assert not account.is_whole
    take(5, providers={present: {"generation": [4, 5]}})
    account.settle()
    assert (account.is_whole, account.by_name, len(account)) == (True, {"name": present}, 1)
    for lost in ({"providers": {ghost: gone}}, {"consumers": {consumer: owner}}):
        with pytest.raises(MismatchError, match="is not there"):
            take(6, **lost)
    with pytest.raises(MismatchError, match="nothing was told of revision 6"):
        account.pass_over(6)


# What it refuses


def test_before_and_after_its_life_it_answers_nothing(moorage: Gated) -> None:
    mirror = Mirror(moorage)
    with pytest.raises(MirrorError, match="not started"):
        _ = mirror.revision
    with mirror, pytest.raises(MirrorError, match="starts once"):
        mirror.start()
    with pytest.raises(MirrorError, match="closed"):
        mirror.wait_for(1)


def test_a_reader_who_may_not_list_claims_has_none(moorage: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ForbiddenError(403, {"code": "forbidden"})

    monkeypatch.setattr(Gated, "claim_page", refused)
    with Mirror(moorage) as mirror:
        assert not mirror.has_claims
        with pytest.raises(MirrorError, match="no claims"):
            mirror.claims()
    with pytest.raises(ForbiddenError):
        Mirror(moorage, claims=True).start()


def test_more_than_it_may_hold_is_an_error(moorage: Gated, sqlite_service: Service) -> None:
    uuid = add_provider(sqlite_service, VCPU=8)
    with pytest.raises(TooLargeError, match="more than 0"):
        Mirror(moorage, most_items=0).start()
    with Mirror(moorage, most_items=1) as mirror:
        order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
        with pytest.raises(MirrorError, match="more than 1") as refused:
            mirror.wait_for(sqlite_service.revision() + 1, SECONDS)
        assert isinstance(refused.value.__cause__, TooLargeError)


def test_a_journal_without_values_is_an_error(
    moorage: Gated, sqlite_service: Service, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = add_provider(sqlite_service, VCPU=8)
    monkeypatch.setattr(sqlite_store, "journal", JournalMode.REFS)
    with Mirror(moorage) as mirror:
        order(sqlite_service, claim(new_uuid(), {uuid: {VCPU: 1}}))
        with pytest.raises(MirrorError, match="references only"):
            mirror.wait_for(sqlite_service.revision() + 1, SECONDS)


def test_without_a_journal_there_is_no_mirror(
    moorage: Gated, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "journal", JournalMode.OFF)
    with pytest.raises(NotFoundError, match="no journal"):
        Mirror(moorage).start()


def test_an_error_of_a_function_that_it_calls_ends_it(moorage: Gated, sqlite_service: Service) -> None:
    def fail(_: AccountChange) -> None:
        raise RuntimeError("broken")

    with Mirror(moorage, on_change=fail) as mirror:
        add_provider(sqlite_service)
        with pytest.raises(MirrorError, match="broken"):
            mirror.wait_for(sqlite_service.revision() + 1, SECONDS)


def test_a_refusal_that_stays_ends_it_and_one_that_may_pass_does_not(
    moorage: Gated, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "LONGEST_PAUSE_SECONDS", 0.001)
    busy = BusyError(503, {"code": "busy", "retry": {"when": "later", "after_seconds": 5}})
    moorage.errors += [busy, AnswerTimeoutError("late"), ForbiddenError(403, {"detail": "not any more"})]
    with Mirror(moorage) as mirror:
        with pytest.raises(MirrorError, match="not any more"):
            mirror.wait_for(sqlite_service.revision() + 1, SECONDS)
        assert mirror.cuts == 2


def test_an_account_that_cannot_be_copied_is_told(
    moorage: Gated, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that step back, and a journal that is always gone before it is read."""
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.0)
    real, calls = Gated.provider_page, iter(range(100))
    for _ in range(2):
        add_provider(sqlite_service)

    def page(self: Gated, **parameters: Any) -> Any:
        return replace(real(self, **parameters), revision=1_000 - next(calls))

    with monkeypatch.context() as patched:
        patched.setattr(Gated, "provider_page", page)
        with pytest.raises(MirrorError, match=r"a page is of revision 9\d\d, one before"):
            Mirror(moorage, page_size=1).start()

    with monkeypatch.context() as patched:
        patched.setattr(
            Gated, "provider_page", lambda self, **wanted: replace(real(self, **wanted), revision=1_000)
        )
        with pytest.raises(MirrorError, match="the history ends at revision"):
            Mirror(moorage, claims=False).start()

    def gone(*_: object, **__: object) -> None:
        raise CompactedError(410, {"detail": "too old"})

    monkeypatch.setattr(Gated, "change_page", gone)
    with pytest.raises(MirrorError, match="too old"):
        Mirror(moorage).start()


# Streams


def told(said: Said, _: int) -> Said:
    return said


def test_a_stream_tells_where_it_is_and_why_it_ends() -> None:
    lines = (
        b'{"bookmark": 7, "epoch": "e"}\n{"revision": 8, "kind": "k", "at": "t", "path": "p", "by": null}\n'
        b'{"end": "stopping"}\n{"bookmark": 9, "epoch": "e"}\n'
    )
    with saying(lambda _: Said(200, lines, media_type=LINES_TYPE)) as heard:
        news = list(Moorage(heard.url).change_stream(after=6))
    assert [getattr(each, "revision", None) for each in news] == [7, 8, None]
    assert news[-1] == End("stopping")
    assert heard.requests == [("GET", "/moorage/v1/changes?after=6", None)]


def test_a_stream_without_an_end_was_cut() -> None:
    for content in (b"", b'{"bookmark": 7, "epoch": "e"}\n{"rev'):
        said = Said(200, content, media_type=LINES_TYPE)
        with saying(partial(told, said)) as heard, pytest.raises(UnreachableError, match="broke a"):
            list(Moorage(heard.url).change_stream(after=6))


def test_what_does_not_stream_is_told() -> None:
    for said, error in (
        (Said(200, {}), UnusableAnswerError),
        (Said(404, {}), NoNativeApiError),
        (Said(200, b"no JSON\n", media_type=LINES_TYPE), UnusableAnswerError),
        (Said(503, {"code": "busy"}, media_type=PROBLEM_TYPE), BusyError),
    ):
        with saying(partial(told, said)) as heard, pytest.raises(error):
            list(Moorage(heard.url).change_stream(after=6))


def test_a_stream_begins_again_with_a_new_token() -> None:
    """And one that nobody reads can be closed."""
    refused = Said(401, {"code": "unauthenticated"}, media_type=PROBLEM_TYPE)
    tokens = iter(("old", "new"))
    with saying(lambda number: refused if number == 1 else Said(200, b"", media_type=LINES_TYPE)) as heard:
        stream = Moorage(heard.url, Token(lambda: next(tokens))).change_stream(after=6)
        stream.close()
        assert list(stream) == []
    assert heard.tokens == ["old", "new"]

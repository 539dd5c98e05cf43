"""Leases of the client: when they are renewed, when they are lost, and what ends with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from moorage_client import (
    Gone,
    LeaseGoneError,
    LeaseLostError,
    Moorage,
    NoRoomError,
    Renewals,
    Renewed,
    UnavailableError,
    UnreachableError,
    keeping,
    leases,
)
from moorage_client.keeping import Keeper, Lease
from moorage_client.transport import PROBLEM_TYPE

from tests.table import each
from tests.unit.native_client.conftest import Heard, Said, saying

SECONDS = 60.0
"""Nothing takes so long."""


def shown(lease: str = "c3", state: str = "active", remaining: str = "60s", **more: Any) -> dict[str, Any]:
    return {
        "lease": lease,
        "owner": "job",
        "project_id": "p",
        "user_id": None,
        "state": state,
        "remaining": remaining,
        "ttl": "60s",
        "grace": "5m",
        "on_expiry": "quarantine",
        "ends_in": None,
        "revision": 7,
        **more,
    }


def renewed(*names: str, remaining: str = "60s") -> Said:
    return Said(200, {"revision": 7, "renewed": [granted(name, remaining) for name in names], "gone": []})


def granted(name: str, remaining: str) -> dict[str, Any]:
    return {"lease": name, "remaining": remaining, "revived": False}


def problem(status: int, code: str) -> Said:
    return Said(status, {"code": code}, {"Retry-After": "0"}, PROBLEM_TYPE)


# Spans


@each(
    ("text", "value"),
    [("60s", 60.0), ("0.25s", 0.25), ("5m", 300.0), ("8h", 28800.0), ("1d", 86400.0), ("40ms", 0.04)],
)
def test_durations_are_read(text: str, value: float) -> None:
    assert leases.seconds(text) == pytest.approx(value)


@each("text", ["", "60", "-1s", "1y", "1 s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        leases.seconds(text)


@each(("span", "text"), [(60, "60s"), (0.25, "0.25s"), (1.0, "1s"), ("8h", "8h"), (100, "100s")])
def test_durations_are_written(span: leases.Span, text: str) -> None:
    assert leases.written(span) == text


@each("options", [{"ttl": 0.5}, {"ttl": "60"}, {"grace": -1}, {"max_life": "0s"}, {"at_end": "stay"}])
def test_wrong_options_of_a_lease_are_refused_before_anything_is_sent(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"least|no duration|at_end"):
        Moorage("http://127.0.0.1:1").lease(**options)


# Requests


REQUESTS: list[tuple[Callable[[Moorage], object], str, str, Any, bool]] = [
    (
        lambda moorage: moorage.grant_lease(30, owner="me", grace="5m", on_expiry="release", max_life=60),
        "POST",
        "/leases",
        {"ttl": "30s", "owner": "me", "grace": "5m", "on_expiry": "release", "max_life": "60s"},
        True,
    ),
    (lambda moorage: moorage.lease_of("c3"), "GET", "/leases/c3", None, False),
    (lambda moorage: moorage.end_lease("c3"), "DELETE", "/leases/c3?claims=keep", None, True),
    (
        lambda moorage: moorage.resolve_lease("c3", "restore"),
        "POST",
        "/leases/c3/resolution",
        {"action": "restore"},
        True,
    ),
    (lambda moorage: moorage.attach("c3", "0b"), "PUT", "/leases/c3/claims/0b", None, True),
    (lambda moorage: moorage.detach("c3", "0b"), "DELETE", "/leases/c3/claims/0b", None, True),
]


@each(("call", "method", "path", "body", "has_key"), REQUESTS)
def test_each_method_is_one_request(
    call: Callable[[Moorage], object], method: str, path: str, body: Any, has_key: bool
) -> None:
    with saying(lambda _: Said(200, shown(fence=9))) as heard, Moorage(heard.url) as moorage:
        found = call(moorage)
    assert heard.requests == [(method, f"/moorage/v1{path}", body)]
    assert (heard.keys[0] is not None) == has_key
    assert isinstance(found, leases.LeaseShown)
    assert (found.id, found.remaining, found.grace, found.fence, found.user_id) == ("c3", 60.0, 300.0, 9, "")


def test_leases_are_listed_page_after_page() -> None:
    pages = [{"leases": [shown("a")], "revision": 1, "next": "a"}, {"leases": [shown("b")], "revision": 2}]
    with saying(lambda number: Said(200, pages[number - 1])) as heard, Moorage(heard.url) as moorage:
        assert [lease.id for lease in moorage.leases(state="active", owner="job")] == ["a", "b"]
    assert heard.requests[0][1] == "/moorage/v1/leases?state=active&owner=job"
    assert "after=a" in heard.requests[1][1]


def test_renewals_say_what_became_of_each_lease() -> None:
    body = {
        "revision": 7,
        "renewed": [{"lease": "a", "remaining": "1.5s", "revived": True}],
        "gone": [{"lease": "b", "state": "released", "revision": 6}, {"lease": "c", "state": None}],
    }
    with saying(lambda _: Said(200, body)) as heard, Moorage(heard.url) as moorage:
        found = moorage.renew_leases(["a", "b", "c"])
    assert found == Renewals((Renewed("a", 1.5, True),), (Gone("b", "released", 6), Gone("c", None, None)))
    assert heard.keys == [None]


# Keeping


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Held:
    """A keeper without threads, and the requests that it sends."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.keeper = Keeper(self.renew, self.clock)
        self.keeper._running = {"_send", "_watch"}
        self.sent: list[tuple[Sequence[str], float]] = []
        self.answer: Callable[[Sequence[str]], Renewals] = lambda names: Renewals(
            tuple(Renewed(name, 60.0, False) for name in names), ()
        )

    def renew(self, names: Sequence[str], patience: float) -> Renewals:
        self.sent.append((list(names), patience))
        return self.answer(names)

    def lease(self, name: str = "c3", *, through_grace: bool = False, ends_in: float | None = None) -> Lease:
        told = leases.LeaseShown.of({**shown(name), "ends_in": None if ends_in is None else f"{ends_in}s"})

        class Client:
            def grant_lease(self, **_: Any) -> leases.LeaseShown:
                return told

        made = Lease(Client(), self.keeper, {}, at_end="leave", through_grace=through_grace)  # type: ignore[arg-type]
        return made.__enter__()

    def at(self, seconds: float) -> None:
        """What both threads do at a time."""
        self.clock.at = 1000.0 + seconds
        self.keeper._give_up()
        if batch := self.keeper._due():
            self.keeper._renew_all(batch, 1.0)


def test_a_lease_is_renewed_after_a_third_and_holds_from_the_time_of_sending() -> None:
    held = Held()
    lease = held.lease()
    held.at(19.9)
    assert held.sent == []
    held.clock.at = 1020.0

    def late(names: Sequence[str]) -> Renewals:
        held.clock.at = 1029.0
        return Renewals((Renewed(names[0], 60.0, False),), ())

    held.answer = late
    held.at(20.0)
    assert lease.remaining == 51.0
    lease.check()


def test_leases_that_are_due_soon_share_a_request() -> None:
    held = Held()
    held.lease("a")
    held.clock.at += 8
    held.lease("b")
    held.clock.at += 12
    held.lease("c")
    held.at(20.0)
    assert [names for names, _ in held.sent] == [["a", "b"]]


def test_many_leases_are_renewed_in_several_requests() -> None:
    held = Held()
    for number in range(keeping.TOGETHER + 1):
        held.lease(str(number))
    held.at(20.0)
    held.at(20.0)
    assert [len(names) for names, _ in held.sent] == [keeping.TOGETHER, 1]


def unreachable(_: Sequence[str]) -> Renewals:
    raise UnreachableError("Nothing answers.")


def test_a_lease_whose_renewals_fail_is_tried_again_and_lost_when_its_ttl_has_passed() -> None:
    held = Held()
    lease = held.lease()
    held.answer = unreachable
    held.at(20.0)
    held.at(24.9)
    assert len(held.sent) == 1
    held.at(25.0)
    assert len(held.sent) == 2
    held.at(59.9)
    assert not lease.lost.is_set()
    held.at(60.0)
    assert lease.lost.is_set()
    assert lease.remaining == 0
    with pytest.raises(LeaseLostError, match="Nothing answers"):
        lease.check()
    sent = len(held.sent)
    held.at(61.0)
    assert len(held.sent) == sent


def test_a_lease_that_comes_back_in_time_is_not_lost() -> None:
    held = Held()
    lease = held.lease()
    answer, held.answer = held.answer, unreachable
    held.at(58.0)
    held.answer = answer
    held.at(59.0)
    held.at(70.0)
    lease.check()
    assert lease.remaining == 49.0


def test_a_lease_goes_through_its_grace_if_that_is_wanted() -> None:
    held = Held()
    lease = held.lease(through_grace=True)
    answer, held.answer = held.answer, unreachable
    held.at(60.0)
    held.at(359.0)
    lease.check()
    held.answer = answer
    held.at(359.5)
    assert lease.remaining == 360.0


def test_an_end_that_renewals_do_not_move_has_no_grace() -> None:
    held = Held()
    lease = held.lease(through_grace=True, ends_in=100.0)
    held.at(99.0)
    lease.check()
    held.at(100.0)
    assert lease.lost.is_set()


def test_what_the_service_has_ended_is_lost_at_once() -> None:
    held = Held()
    lease, other = held.lease("a"), held.lease("b")
    held.answer = lambda _: Renewals((Renewed("b", 60.0, False),), (Gone("a", "released", 9),))
    held.at(20.0)
    assert lease.lost.is_set()
    with pytest.raises(LeaseLostError, match="The service has ended it: released"):
        lease.check()
    other.check()


def test_an_answer_for_a_lease_that_is_left_changes_nothing() -> None:
    held = Held()
    lease = held.lease()

    def leaving(names: Sequence[str]) -> Renewals:
        lease.__exit__(None, None, None)
        return Renewals((Renewed(names[0], 60.0, False),), ())

    held.answer = leaving
    held.at(20.0)
    assert lease.deadline == 1060.0
    lease.__exit__(None, None, None)


def test_a_lease_has_no_id_before_its_block() -> None:
    with pytest.raises(LeaseLostError, match="begins with its with block"):
        _ = Moorage("http://127.0.0.1:1").lease().id


# With threads


class Service:
    """A service that grants leases of a tenth of a second, and renews them or does not."""

    def __init__(self) -> None:
        self.renewals = threading.Semaphore(0)
        self.renews: Callable[[], Said | None] = lambda: renewed("c3", remaining="0.3s")
        self.ends = Said(200, shown(state="released", remaining="0s"))
        self.heard: Heard | None = None

    def __call__(self, _: int) -> Said | None:
        assert self.heard is not None
        method, path, _body = self.heard.requests[-1]
        if path.endswith("/renewals"):
            self.renewals.release()
            return self.renews()
        if method == "DELETE":
            return self.ends
        if path.endswith("/claims"):
            return Said(409, {"code": "no_room"}, media_type=PROBLEM_TYPE)
        return Said(201, shown(remaining="0.3s"))

    def ended(self) -> list[str]:
        assert self.heard is not None
        return [path for method, path, _ in self.heard.requests if method == "DELETE"]


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_block_renews_its_lease_and_ends_it_with_its_claims(service: Service) -> None:
    with saying(service) as heard, Moorage(heard.url) as moorage:
        service.heard = heard
        with moorage.lease(60, owner="job") as lease:
            for _ in range(3):
                assert service.renewals.acquire(timeout=SECONDS)
            lease.check()
            with pytest.raises(NoRoomError):
                lease.claim("resources=VCPU:1")
        assert service.ended() == ["/moorage/v1/leases/c3?claims=release"]
        claims = [body for _, path, body in heard.requests if path.endswith("/claims")]
        assert claims[0]["claims"][0]["lease"] == "c3"
        # Threads end with the last lease, and begin again with the next one.
        with moorage.lease(60, at_end="keep"), moorage.lease(60, at_end="leave"):
            assert service.renewals.acquire(timeout=SECONDS)
        assert service.ended()[1:] == ["/moorage/v1/leases/c3?claims=keep"]


@each("renews", [lambda: None, lambda: problem(503, "unavailable"), lambda: Said(200, b"no json")])
def test_a_lease_that_nothing_confirms_is_lost(renews: Callable[[], Said | None]) -> None:
    service = Service()
    service.renews = renews
    with saying(service) as heard, Moorage(heard.url) as moorage:
        service.heard = heard
        with moorage.lease() as lease:
            assert lease.lost.wait(SECONDS)
            with pytest.raises(LeaseLostError):
                lease.check()
        # It may not have ended yet: a late renewal would revive it.
        assert len(service.ended()) == 1


def test_a_lease_that_the_service_has_ended_is_not_ended_again(service: Service) -> None:
    gone = {"revision": 1, "renewed": [], "gone": [{"lease": "c3", "state": "released", "revision": 1}]}
    service.renews = lambda: Said(200, gone)
    with saying(service) as heard, Moorage(heard.url) as moorage:
        service.heard = heard
        with moorage.lease() as lease:
            assert lease.lost.wait(SECONDS)
        assert service.ended() == []


def test_a_lease_that_ends_just_before_its_block_is_no_error(service: Service) -> None:
    service.ends = problem(409, "lease_gone")
    with saying(service) as heard, Moorage(heard.url) as moorage:
        service.heard = heard
        with moorage.lease():
            pass
        with pytest.raises(LeaseGoneError):
            moorage.end_lease("c3")


def test_the_error_of_a_block_is_the_one_to_see(service: Service) -> None:
    service.ends = problem(503, "unavailable")
    with saying(service) as heard, Moorage(heard.url, sleep=lambda _: None) as moorage:
        service.heard = heard
        with pytest.raises(ZeroDivisionError), moorage.lease():
            raise ZeroDivisionError
        with pytest.raises(UnavailableError), moorage.lease():
            pass
    with saying(service) as heard, Moorage(heard.url, sleep=lambda _: None) as moorage:
        service.heard = heard
        service.ends = None  # type: ignore[assignment]
        with pytest.raises(ZeroDivisionError), moorage.lease():
            raise ZeroDivisionError
        with pytest.raises(UnreachableError), moorage.lease():
            pass

"""What Granian tells after a body: that the client has gone."""

from __future__ import annotations

from moorage.serve.body_slots import NO_BODY, Body, BodyReading
from moorage.serve.departure import Departure
from tests.unit.serve.asgi import BROKEN_OFF, Future, Protocol, message


def test_it_is_told_after_the_end_of_the_body() -> None:
    never = Future()
    gone = Departure(Protocol([Future(message(b"", False)), never]).receive, NO_BODY)
    assert [gone(), gone()] == [False, False]
    never.arrive(BROKEN_OFF)
    assert [gone(), gone()] == [True, True]


def test_a_body_that_is_not_read_is_left_alone() -> None:
    protocol = Protocol([Future(message(b"ab", False)), Future(BROKEN_OFF)])
    body = Body("2", protocol.receive, BodyReading(1))
    gone = Departure(protocol.receive, body)
    assert not gone()
    assert body.read(2) == b"ab"
    assert gone()

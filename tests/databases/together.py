"""Orders of several threads that one leader finds waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from moorage.model.commands import (
    Command,
)
from moorage.model.errors import (
    MoorageError,
)
from moorage.model.values import Requester
from moorage.rules.decide import touch
from moorage.service.committer import Committer, Ticket
from moorage.service.facade import Service
from tests.databases.orders import (
    ASKER,
)


@contextmanager
def held_up(committer: Committer) -> Iterator[None]:
    """Whoever comes meanwhile waits; at the end the first one leads."""
    with committer._mutex:
        assert not committer._led
        committer._led = True
    try:
        yield
    finally:
        committer._hand_over()


def together(service: Service, *commands: Command[Any]) -> list[object]:
    """Carry out orders of as many threads in one go, in this order; their results and refusals."""
    committer = service._committer
    tickets: list[Ticket] = []
    answers: dict[int, object] = {}

    def run(number: int, command: Command[Any]) -> None:
        try:
            answers[number] = service.execute(command, ASKER)
        except MoorageError as refusal:
            answers[number] = refusal

    threads = []
    with held_up(committer):
        for number, command in enumerate(commands):
            thread = threading.Thread(target=run, args=(number, command))
            thread.start()
            threads.append(thread)
            while len(committer._waiting) <= number:
                time.sleep(0.001)
        tickets.extend(committer._waiting)
    for thread in threads:
        thread.join()
    assert [ticket.command for ticket in tickets] == list(commands)
    return [answers[number] for number in range(len(commands))]


def led(service: Service, orders: Sequence[tuple[Command[Any], Requester]]) -> list[Ticket]:
    """Have one leader, in this thread, find all these orders waiting; they come back answered."""
    committer = service._committer
    tickets = [Ticket(command, requester, touch(command)) for command, requester in orders]
    committer._waiting.extend(tickets)
    committer._lead()
    assert all(ticket.answered for ticket in tickets)
    return tickets


def kinds(answers: Sequence[object]) -> list[type[object]]:
    return [type(answer) for answer in answers]

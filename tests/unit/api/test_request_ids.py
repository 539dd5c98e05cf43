from __future__ import annotations

import os
from uuid import RFC_4122, UUID

from moorage.api.http.application import new_request_id
from moorage.api.http.observer import REQUEST_ID

MANY = 1_000


def test_ids_are_random_uuids_that_clients_and_logs_know() -> None:
    ids = {new_request_id() for _ in range(MANY)}
    assert len(ids) == MANY
    for text in ids:
        assert REQUEST_ID.fullmatch(text)
        uuid = UUID(text.removeprefix("req-"))
        assert (uuid.version, uuid.variant) == (4, RFC_4122)


def test_processes_of_one_origin_have_ids_of_their_own() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != new_request_id()
    os.close(reading)
    os.close(writing)

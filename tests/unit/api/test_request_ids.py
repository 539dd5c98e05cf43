from __future__ import annotations

from uuid import RFC_4122, UUID

from moorage.api.http.application import new_request_id
from moorage.api.http.observer import REQUEST_ID
from tests.copies import told_by_a_copy

MANY = 1_000


def test_ids_are_random_uuids_that_clients_and_logs_know() -> None:
    ids = {new_request_id() for _ in range(MANY)}
    assert len(ids) == MANY
    for text in ids:
        assert REQUEST_ID.fullmatch(text)
        uuid = UUID(text.removeprefix("req-"))
        assert (uuid.version, uuid.variant) == (4, RFC_4122)


def test_processes_of_one_origin_have_ids_of_their_own() -> None:
    told = told_by_a_copy(new_request_id)
    assert REQUEST_ID.fullmatch(told)
    assert told != new_request_id()

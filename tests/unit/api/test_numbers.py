"""Numbers are spelled as Placement spells them: in answers to writes as the client, else as Python does."""

from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.placement import encode
from moorage.model import errors as model
from moorage.model.values import Inventory, ProviderInventories
from tests.unit.api.fake import CONSUMER, UUID, Client, FakeService

INVENTORIES = f"/resource_providers/{UUID}/inventories"

RATIOS = (
    *("16", "16.0", "1.5", "0", "0.0", "-0.0", "100.0", "0.0001", "1e-05", "1e-07", "5e-324"),
    *("9999999999999998.0", "1e+16", "1.2345678901234568e+20", "3.4e+38", "-3.4e+38"),
    *("10000000000000000000", "1000000000000000000000000000000", "-10000000000000000000"),
)
"""Each as Python spells it, whatever else may read so."""

OTHER_SPELLINGS = {"1e2": "100.0", "1.50": "1.5", "0.00001": "1e-05", "1E16": "1e+16", "-0": "0"}


def written(record: str) -> list[bytes]:
    """What the three writes of inventories answer to one."""
    generation = '"resource_provider_generation": 3.0'
    several = f'{{{generation}, "inventories": {{"VCPU": {{{record}}}, "DISK_GB": {{"total": 1}}}}}}'
    client = Client(FakeService())
    answers = [
        client.ask("PUT", INVENTORIES, 39, body=several.encode()),
        client.ask("PUT", f"{INVENTORIES}/VCPU", 39, body=f"{{{generation}, {record}}}".encode()),
        client.ask("POST", INVENTORIES, 39, body=f'{{"resource_class": "VCPU", {record}}}'.encode()),
    ]
    assert [answer.status for answer in answers] == [200, 200, 201]
    return [answer.body for answer in answers]


@pytest.mark.parametrize(
    ("given_", "answered"), [*((ratio, ratio) for ratio in RATIOS), *OTHER_SPELLINGS.items()]
)
def test_an_answer_to_a_write_has_the_ratio_as_the_client_spelled_it(given_: str, answered: str) -> None:
    for body in written(f'"total": 8, "allocation_ratio": {given_}'):
        assert (
            f'"total":8,"reserved":0,"min_unit":1,"max_unit":2147483647,"step_size":1,"allocation_ratio":{answered}'.encode()
            in body
        )


def test_an_answer_to_a_write_has_each_amount_as_the_client_spelled_it() -> None:
    record = '"total": 16.0, "reserved": 1e0, "min_unit": 2, "max_unit": 3.0, "step_size": 1.0'
    shown = b'"total":16.0,"reserved":1.0,"min_unit":2,"max_unit":3.0,"step_size":1.0,"allocation_ratio":1.0'
    bodies = written(record)
    assert all(shown in body for body in bodies)
    # What the client did not give is whole.
    assert b'"DISK_GB":{"total":1,"reserved":0,' in bodies[0]
    assert all(b'"resource_provider_generation":5' in body for body in bodies)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_ratio_that_is_read_is_spelled_as_python_does(ratio: float) -> None:
    shown = encode.inventories(ProviderInventories(1, {"VCPU": Inventory(8, allocation_ratio=ratio)}))
    assert orjson.dumps(shown).endswith(b'"allocation_ratio":%b}}}' % repr(ratio).encode())


@given(st.integers(-(10**40), 10**40))
def test_any_whole_number_is_spelled_with_its_digits(number: int) -> None:
    assert orjson.dumps([encode.number(number)]) == b"[%d]" % number


def test_a_generation_in_a_refusal_is_as_the_client_spelled_it() -> None:
    stale = model.ConsumerGenerationError(CONSUMER, 3, 5)
    claim = (
        '{"allocations": {}, "project_id": "p", "user_id": "u", "consumer_type": "INSTANCE", '
        '"consumer_generation": 5.0}'
    )
    refused = model.StaleGenerationError(UUID, 3, 5)
    held = f'{{"{UUID}": {{"resource_provider_generation": 5.0, "inventories": {{}}}}}}'
    reshape = f'{{"inventories": {held}, "allocations": {{"{CONSUMER}": {claim}}}}}'
    for error, method, path, body, words in (
        (stale, "PUT", f"/allocations/{CONSUMER}", claim, "expected 3 but got 5.0 "),
        (stale, "POST", "/allocations", f'{{"{CONSUMER}": {claim}}}', "expected 3 but got 5.0 "),
        (stale, "POST", "/reshaper", reshape, "expected 3 but got 5.0 "),
        (refused, "POST", "/reshaper", reshape, "actual: 3, given: 5.0 "),
    ):
        result = Client(FakeService(error)).ask(method, path, 39, body=body.encode())
        assert result.status == 409
        assert words in result.detail, result.detail


def test_the_numbers_of_these_tests_are_as_python_spells_them() -> None:
    for ratio in RATIOS:
        value = (
            float(ratio) if math.isfinite(float(ratio)) and not ratio.lstrip("-").isdecimal() else int(ratio)
        )
        assert repr(value) == ratio

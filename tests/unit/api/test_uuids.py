from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from oslo_utils import uuidutils

from moorage.api.http import validation

spelled = st.uuids().flatmap(
    lambda uuid: st.sampled_from(
        [
            str(uuid),
            str(uuid).upper(),
            uuid.hex,
            f"{{{uuid}}}",
            uuid.urn,
            f"{uuid}\n",
            f"{uuid}0",
            str(uuid)[1:],
        ]
    )
)


@given(spelled | st.text() | st.none() | st.integers())
def test_the_quick_look_says_what_the_library_says(value: object) -> None:
    assert validation.is_uuid_like(value) == uuidutils.is_uuid_like(value)


def test_the_usual_form_is_one() -> None:
    assert validation.is_uuid_like(str(UUID(int=1)))

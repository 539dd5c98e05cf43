from __future__ import annotations

from moorage.service.lookalikes import Lookalikes, folded


def test_names_that_differ_in_case_accents_or_spaces_at_the_end_look_alike() -> None:
    assert len({folded(name) for name in ("Kräne", "kräne", "KRA\u0308NE  ", "krane")}) == 1
    assert len({folded(name) for name in ("krane", " krane", "kranes", "kr ane", "")}) == 5


def test_a_name_is_taken_unless_it_looks_like_another_one() -> None:
    names = Lookalikes()
    assert names.take({"quay", "pier"})
    assert names.take({"quay"})
    assert not names.take({"berth", "QUAY"})
    # Nothing of those has been taken.
    assert names.take({"BERTH"})
    assert not names.take({"berth"})
    assert names.take(())

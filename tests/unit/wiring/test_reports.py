"""The options about reports, and what they let the service do."""

from __future__ import annotations

import pytest

from moorage.model.errors import ConfigurationError
from moorage.model.reports import CLAIM, QUARANTINE, RELEASE
from moorage.service.settings import AuditSettings
from moorage.wiring.options import MOORAGE_GROUP, read_options, value_of, variable_name
from moorage.wiring.reports import audit_settings_from


def settings(**options: str) -> AuditSettings:
    conf = read_options(
        environment={variable_name(MOORAGE_GROUP, name): text for name, text in options.items()}
    )
    return audit_settings_from(lambda name: value_of(conf, MOORAGE_GROUP, name))


def test_nothing_is_healed_unless_an_operator_says_so() -> None:
    assert settings() == AuditSettings()
    assert settings().heal_of("nova") == frozenset()


def test_each_source_has_its_actions_and_a_star_stands_for_many() -> None:
    found = settings(
        audit_heal="nova:release, lab-*:release+claim,lab-7:off,*:claim,farm:quarantine",
        audit_settle_seconds="60",
        audit_max_actions="5",
        audit_allow_overcommit="true",
    )
    assert (found.settle_seconds, found.most_actions, found.over_capacity) == (60, 5, True)
    assert found.heal_of("nova") == {RELEASE}
    assert found.heal_of("lab-1") == {RELEASE, CLAIM}
    assert found.heal_of("lab-7") == frozenset()
    assert found.heal_of("farm") == {QUARANTINE}
    assert found.heal_of("other") == {CLAIM}


@pytest.mark.parametrize("said", ["nova:erase", "nova:release+", "nova", "nova:release+off"])
def test_an_action_that_is_none_prevents_a_start(said: str) -> None:
    with pytest.raises(ConfigurationError, match="AUDIT_HEAL"):
        settings(audit_heal=said)

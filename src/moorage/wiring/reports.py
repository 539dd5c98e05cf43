"""``[moorage]``'s options about reports of what is really there, and what they may cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg, types

from moorage.model.reports import ACTIONS
from moorage.service.settings import AuditSettings

_AUDIT: Final = AuditSettings()

MOST_ACTIONS: Final = 1_000
"""An hour. A source that is wrong does its harm slowly."""

OFF: Final = "off"
ALSO: Final = "+"

_ONE: Final = "|".join(ACTIONS)
_HEAL: Final = rf"^({OFF}|({_ONE})(\+({_ONE}))*)$"

REPORT_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.Opt(
        "audit_heal",
        type=types.Dict(types.String(regex=_HEAL)),
        default={},
        help="What the service may do of itself about findings of a source, as SOURCE:ACTIONS, separated by "
        "commas: nova:release,lab-*:release+claim. A name that ends with * stands for all that begin so. "
        "quarantine hangs what is leaked on a quarantined lease, so that an operator decides. release gives "
        "back what is held and not reported. claim claims what is reported and not held. off, and a source "
        "that is not named: findings only.",
    ),
    cfg.IntOpt(
        "audit_settle_seconds",
        default=int(_AUDIT.settle_seconds),
        min=1,
        help="Seconds for which a finding must have been there, with the same claim, before anything is done "
        "about it. They must cover the time between a claim and the first report that has it.",
    ),
    cfg.IntOpt(
        "audit_max_actions",
        default=_AUDIT.most_actions,
        min=0,
        max=MOST_ACTIONS,
        help="Most actions on findings within an hour, of all sources together.",
    ),
    cfg.BoolOpt(
        "audit_allow_overcommit",
        default=False,
        help="With claim in audit_heal: claim what is reported even if there is no room, since it runs "
        "anyway. Otherwise such a finding stays open.",
    ),
]


def audit_settings_from(moorage: Callable[[str], Any]) -> AuditSettings:
    """What reports may cause; ``moorage`` returns an option of the group by its name."""
    allowed = {source.strip(): frozenset(said.split(ALSO)) for source, said in moorage("audit_heal").items()}
    return AuditSettings(
        settle_seconds=moorage("audit_settle_seconds"),
        most_actions=moorage("audit_max_actions"),
        heal={source: actions - {OFF} for source, actions in allowed.items()},
        over_capacity=moorage("audit_allow_overcommit"),
    )

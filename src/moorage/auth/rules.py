"""The names of the policy rules and what they demand by default.

Source: the policy reference of OpenStack Placement. Operators' files use these names, so
they are fixed. The rules that begin with "moorage:" are for the native API. Every rule is for tokens of a
project only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from oslo_policy import policy

from moorage.model.valueclass import valueclass

SCOPES: Final = ("project",)
"""Scopes of a token that every rule is meant for."""

ADMIN: Final = "admin_api"
SERVICE: Final = "service_api"
ADMIN_OR_SERVICE: Final = "admin_or_service_api"
PROJECT_READER: Final = "project_reader_api"
PROJECT_MEMBER: Final = "project_member_api"
ADMIN_OR_PROJECT_READER_OR_SERVICE: Final = "admin_or_project_reader_or_service_api"

TOTAL_USAGES: Final = "placement:usages"
CHANGES: Final = "moorage:changes:list"

RESHAPE: Final = "placement:reshaper:reshape"


@valueclass(frozen=True, slots=True)
class BaseRule:
    """A rule that others refer to.

    ``check`` is in the language of oslo.policy. ``scoped``: it is meant for tokens of a project
    only. ``replaces_admin``: where ``enforce_new_defaults`` is off, the role admin also suffices,
    as it did before there were other roles.
    """

    name: str
    check: str
    description: str
    scoped: bool = True
    replaces_admin: bool = True


BASE_RULES: Final[Sequence[BaseRule]] = (
    BaseRule(ADMIN, "role:admin", "An administrator.", replaces_admin=False),
    BaseRule(SERVICE, "role:service", "Another service of the cloud, such as Nova or Neutron."),
    BaseRule(ADMIN_OR_SERVICE, "role:admin or role:service", "Access to most of the API."),
    BaseRule(
        PROJECT_READER,
        "role:reader and project_id:%(project_id)s",
        "A reader of the project in the request.",
        scoped=False,
    ),
    BaseRule(
        ADMIN_OR_PROJECT_READER_OR_SERVICE,
        f"role:admin or rule:{PROJECT_READER} or role:service",
        "Access that readers of the project in the request have as well.",
    ),
    BaseRule(
        PROJECT_MEMBER,
        "role:member and project_id:%(project_id)s",
        "A member of the project in the request. With self_service it has a part of the native API.",
        scoped=False,
        replaces_admin=False,
    ),
)

DESCRIPTIONS: Final[Mapping[str, str]] = {
    "placement:resource_providers:list": "List resource providers.",
    "placement:resource_providers:create": "Create a resource provider.",
    "placement:resource_providers:show": "Show a resource provider.",
    "placement:resource_providers:update": "Rename a resource provider, or move it in its tree.",
    "placement:resource_providers:delete": "Delete a resource provider.",
    "placement:resource_providers:inventories:list": "List the inventories of a resource provider.",
    "placement:resource_providers:inventories:create": "Add an inventory to a resource provider.",
    "placement:resource_providers:inventories:show": "Show an inventory of a resource provider.",
    "placement:resource_providers:inventories:update": "Change inventories of a resource provider.",
    "placement:resource_providers:inventories:delete": "Delete inventories of a resource provider.",
    "placement:resource_providers:aggregates:list": "List the aggregates of a resource provider.",
    "placement:resource_providers:aggregates:update": "Set the aggregates of a resource provider.",
    "placement:resource_providers:traits:list": "List the traits of a resource provider.",
    "placement:resource_providers:traits:update": "Set the traits of a resource provider.",
    "placement:resource_providers:traits:delete": "Remove all traits from a resource provider.",
    "placement:resource_providers:allocations:list": "List the allocations of a resource provider.",
    "placement:resource_providers:usages": "Show what is used of a resource provider.",
    "placement:resource_classes:list": "List resource classes.",
    "placement:resource_classes:create": "Create a resource class.",
    "placement:resource_classes:show": "Show a resource class.",
    "placement:resource_classes:update": "Create a resource class, or rename one.",
    "placement:resource_classes:delete": "Delete a resource class.",
    "placement:traits:list": "List traits.",
    "placement:traits:show": "Show a trait.",
    "placement:traits:update": "Create a trait.",
    "placement:traits:delete": "Delete a trait.",
    "placement:allocations:manage": "Set the allocations of several consumers at once.",
    "placement:allocations:list": "List the allocations of a consumer.",
    "placement:allocations:update": "Set the allocations of a consumer.",
    "placement:allocations:delete": "Delete the allocations of a consumer.",
    "placement:allocation_candidates:list": "Find allocation candidates.",
    TOTAL_USAGES: "Show what a project uses.",
    RESHAPE: "Change inventories and allocations of several providers and consumers at once.",
}
"""The rules of the Placement API, with the operations that they guard."""

NATIVE_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "moorage:providers:list": "List resource providers with all that they have.",
    "moorage:providers:show": "Show a resource provider with all that it has, now or at an earlier revision.",
    "moorage:trees:show": "Show all resource providers of a tree, now or at an earlier revision. Members of "
    "a project see trees that it holds something of, without what is used.",
    "moorage:overview:show": "Show what all trees have and what is used of it.",
    "moorage:candidates:list": "List the best candidates for a request, in order. Members of a project see "
    "no scores.",
    "moorage:claims:list": "List the consumers of a project, or of all, with what they hold.",
    "moorage:claims:show": "Show what a consumer of the project holds, now or at an earlier revision.",
    "moorage:claims:create": "Claim for consumers of a project: that of each entry.",
    "moorage:claims:delete": "Release what consumers of the project hold.",
    "moorage:claims:show_history": "List what changed of a consumer of the project.",
    "moorage:leases:create": "Get a lease, for the project of the token.",
    "moorage:leases:renew": "Renew leases of the project.",
    "moorage:leases:list": "List the leases of a project, or of all.",
    "moorage:leases:show": "Show a lease of the project.",
    "moorage:leases:update": "Hang claims on leases of the project, and take them off.",
    "moorage:leases:delete": "End leases of the project, with their claims or without.",
    "moorage:leases:resolve": "Decide what becomes of the claims of a quarantined lease.",
    "moorage:explanations:create": "Explain why a request finds no room; the project is that of the body. "
    "Counts of a narrow request say how much of a tree is free.",
    "moorage:explanations:show": "Show why a search of the past found nothing, by its request id.",
    "moorage:unmet:list": "List what searches of all projects did not find. Their requests name trees by "
    "uuid (in_tree).",
    "moorage:reports:update": "Report what is really there. What is not reported may be given back, if the "
    "settings allow it.",
    "moorage:reports:list": "List the sources that have reported.",
    "moorage:reports:delete": "Forget a source with all of its findings.",
    "moorage:findings:list": "List what reports and the account disagree about.",
    "moorage:findings:show": "Show what a report and the account disagree about of one consumer.",
    "moorage:findings:resolve": "Heal or ignore what a report and the account disagree about.",
    "moorage:order:inline": "Say in a request what makes a candidate better, beyond naming a profile.",
    CHANGES: "List what changed, by revision. Readers of a project see changes of its own consumers.",
    "moorage:history:show": "List what changed of one provider.",
    "moorage:changes:show_providers": "See in lists of changes all providers and consumers, and which "
    "request has changed them.",
    "moorage:holders:list": "See in an explanation which consumers hold what is missing.",
}
"""The rules of the native API. Their names are Moorage's own."""

ALL_DESCRIPTIONS: Final[Mapping[str, str]] = {**DESCRIPTIONS, **NATIVE_DESCRIPTIONS}

SELF_SERVICE: Final = (
    "moorage:trees:show",
    "moorage:candidates:list",
    "moorage:claims:list",
    "moorage:claims:show",
    "moorage:claims:create",
    "moorage:claims:delete",
    "moorage:claims:show_history",
    "moorage:leases:create",
    "moorage:leases:renew",
    "moorage:leases:list",
    "moorage:leases:show",
    "moorage:leases:update",
    "moorage:leases:delete",
    "moorage:explanations:create",
    "moorage:explanations:show",
    CHANGES,
)
"""Rules that members of the project satisfy where projects help themselves."""

OF_A_PROJECT: Final = (TOTAL_USAGES, *SELF_SERVICE)
"""Rules that are asked for a project: that which a request names, or that which owns what it is about."""

CHECKS: Final[Mapping[str, str]] = {
    **dict.fromkeys((TOTAL_USAGES, CHANGES), f"rule:{ADMIN_OR_PROJECT_READER_OR_SERVICE}"),
    RESHAPE: f"rule:{SERVICE}",
}
"""What a rule demands by default, where it is not ``ADMIN_OR_SERVICE``."""

_REASON: Final = (
    "Services and readers have roles of their own. The role admin alone is accepted in their place "
    "only while enforce_new_defaults is off."
)
_SINCE: Final = "W"


def default_check(rule: str, *, self_service: bool = False) -> str:
    """What a rule of ``ALL_DESCRIPTIONS`` demands by default, in the language of oslo.policy.

    ``self_service``: where projects help themselves.
    """
    check = CHECKS.get(rule, f"rule:{ADMIN_OR_SERVICE}")
    return f"{check} or rule:{PROJECT_MEMBER}" if self_service and rule in SELF_SERVICE else check


def defaults(*, scoped: bool = True, self_service: bool = False) -> list[policy.RuleDefault]:
    """All rules as oslo.policy registers them; not ``scoped``: for tokens of any scope."""
    scopes = list(SCOPES) if scoped else None
    formerly = policy.DeprecatedRule(
        # wire: a policy file cannot override what nothing is named.
        name=f"rule:{ADMIN}",
        check_str="role:admin",
        deprecated_reason=_REASON,
        deprecated_since=_SINCE,
    )
    bases = [
        policy.RuleDefault(
            base.name,
            base.check,
            description=base.description,
            scope_types=scopes if base.scoped else None,
            deprecated_rule=formerly if base.replaces_admin else None,
        )
        for base in BASE_RULES
    ]
    asked = [
        policy.RuleDefault(
            name,
            default_check(name, self_service=self_service),
            description=description,
            scope_types=scopes,
        )
        for name, description in ALL_DESCRIPTIONS.items()
    ]
    return [*bases, *asked]

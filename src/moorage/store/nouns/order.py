"""The nouns in the order in which a transaction takes them, and an audit.

Locks are taken in one order: providers by id, then consumers by id, then names, then leases by uuid. The
transaction reads providers, then consumers, and then ``READ``. It writes ``WRITTEN``, and then consumers, the
generations of providers, the origins of claims with their leases, the revision, leases, idempotency keys, the
journal and the change log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import sqlalchemy as sa

from moorage.rules.audit import Facts
from moorage.store.nouns.aggregates import AGGREGATES
from moorage.store.nouns.consumers import CONSUMERS
from moorage.store.nouns.inventories import INVENTORIES
from moorage.store.nouns.keys import KEYS
from moorage.store.nouns.leases import LEASES
from moorage.store.nouns.noun import Noun
from moorage.store.nouns.origins import ORIGINS
from moorage.store.nouns.providers import Providers
from moorage.store.nouns.resource_classes import RESOURCE_CLASSES
from moorage.store.nouns.traits import TRAIT_NAMES, TRAITS_OF_PROVIDERS

READ: Final[Sequence[Noun]] = (
    TRAITS_OF_PROVIDERS,
    AGGREGATES,
    RESOURCE_CLASSES,
    TRAIT_NAMES,
    LEASES,
    KEYS,
)
"""What is read after providers and consumers."""

_OF_PROVIDERS: Final[Sequence[Noun]] = (INVENTORIES, TRAITS_OF_PROVIDERS, AGGREGATES)
"""What providers have. It is written after them, and goes with them."""

PROVIDERS: Final = Providers([table for noun in _OF_PROVIDERS for table in noun.of_provider])

WRITTEN: Final[Sequence[Noun]] = (RESOURCE_CLASSES, TRAIT_NAMES, PROVIDERS, *_OF_PROVIDERS)
"""What is written before claims: names before what has them."""


def read_facts(connection: sa.Connection) -> Facts:
    """The rows of all tables of the account, in one snapshot, for a verification."""
    nouns = (*WRITTEN, CONSUMERS, ORIGINS, LEASES)
    rows = {name: read for noun in nouns for name, read in noun.audited.items()}
    return Facts(**{field.name: rows[field.name](connection) for field in fields(Facts)})

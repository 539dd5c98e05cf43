"""The options that say which candidates come first."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from moorage.cli.client import lookup, syntax
from moorage.cli.client.connection import ServiceConnection
from moorage.model.orders import STRATEGIES
from moorage.model.valueclass import valueclass

TRAIT_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")


@valueclass(frozen=True, slots=True)
class OrderWishes:
    """The options as the command line has them."""

    profile: str | None
    order: str | None
    prefer: tuple[str, ...]
    avoid: tuple[str, ...]
    weight: tuple[str, ...]
    spare_special: float | None
    among_best: int | None
    seed: int | None

    @property
    def is_empty(self) -> bool:
        """Whether no option was given."""
        return all(getattr(self, name) in (None, ()) for name in _NAMES)

    @property
    def traits(self) -> frozenset[str]:
        """The traits that the options name."""
        named = [syntax.weighted(text)[0] for text in (*self.prefer, *self.avoid)]
        return frozenset(filter(TRAIT_NAME.fullmatch, named))

    @property
    def classes(self) -> frozenset[str]:
        """The resource classes that the options name."""
        return frozenset([syntax.weighted(text)[0] for text in self.weight])

    def body(self, service: ServiceConnection) -> Mapping[str, Any]:
        """The Order of the native API; names of providers are looked up. Raises BadParameter."""
        given: dict[str, Any] = {
            "profile": self.profile,
            "strategy": self.order,
            "prefer": [_wish(service, text) for text in self.prefer],
            "avoid": [_wish(service, text) for text in self.avoid],
            "weights": dict(map(syntax.weighted, self.weight)),
            "spare_special": self.spare_special,
            "among_best": self.among_best,
            "seed": self.seed,
        }
        return {name: part for name, part in given.items() if part not in (None, [], {})}


def _wish(service: ServiceConnection, text: str) -> Mapping[str, Any]:
    name, weight = syntax.weighted(text)
    if TRAIT_NAME.fullmatch(name):
        return {"trait": name, "weight": weight}
    return {"provider": lookup.provider_uuid(service, name), "weight": weight}


_OPTIONS: Final = (
    click.option(
        "--profile",
        metavar="NAME",
        help="An order that an operator has named. Further options take the place of its own.",
    ),
    click.option(
        "--order",
        type=click.Choice(STRATEGIES),
        help="Which trees come first: the fullest (pack), the emptiest (spread), those that have least left "
        "(best_fit), by chance (random), or the oldest (first). Shows scores with their parts.",
    ),
    click.option(
        "--prefer",
        multiple=True,
        metavar="TRAIT|PROVIDER[=WEIGHT]",
        help="Raise the score of trees with a trait, or of the tree of a provider. Repeatable.",
    ),
    click.option(
        "--avoid",
        multiple=True,
        metavar="TRAIT|PROVIDER[=WEIGHT]",
        help="Lower the score of trees with a trait, or of the tree of a provider. Repeatable.",
    ),
    click.option(
        "--weight",
        multiple=True,
        metavar="CLASS=WEIGHT",
        help="What a class counts for --order: 1 if it is not named. Repeatable.",
    ),
    click.option(
        "--spare-special",
        type=click.FloatRange(min=0),
        metavar="WEIGHT",
        help="Lower the score of trees with rare traits and classes that are not asked for.",
    ),
    click.option(
        "--among-best",
        type=click.IntRange(min=1),
        metavar="COUNT",
        help="Put so many of the best into an order that --seed decides.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Decides between equal scores, and all chance."),
)

_NAMES: Final = tuple(OrderWishes.__annotations__)


def order_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options around ``function``, which gets them as ``order``."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        order = OrderWishes(**{name: options.pop(name) for name in _NAMES})
        function(*arguments, order=order, **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped

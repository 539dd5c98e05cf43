"""The account as a mirror holds it: pages, and the changes after them. No thread, no connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from moorage_client.answers import Claim, Inventory, Provider
from moorage_client.changes import AccountChange
from moorage_client.errors import MirrorError, TooLargeError

FIELDS = ("inventories", "used", "traits", "aggregates", "generation", "parent")
"""What a mirror asks of each provider."""


RELEASED = "released"
"""The state of a lease on which no claim hangs."""


class MismatchError(Exception):
    """A change does not go on from what the copy holds."""


class Account:
    """Providers and claims at ``revision`` of the history ``epoch``.

    Pages are true at revisions of their own, and the changes since the first of them follow. A page's item
    takes no change that its page has seen already. So once ``is_whole``, all items are true at ``revision``.
    ``claims`` is None if the copy has none. All values in it are immutable.
    """

    def __init__(self, epoch: str, revision: int, *, claims: bool, most_items: int | None = None) -> None:
        self.epoch = epoch
        self.revision = revision
        self.providers: dict[str, Provider] = {}
        self.claims: dict[str, Claim] | None = {} if claims else None
        self.by_name: dict[str, str] = {}
        # Dictionaries for their order, and because a set of one element takes more memory.
        self.children: dict[str, dict[str, None]] = {}
        self.trees: dict[str, dict[str, None]] = {}
        self.holders: dict[str, dict[str, None]] = {}
        self.hanging: dict[str, dict[str, None]] = {}
        self._most_items = most_items
        self._read_at: dict[str, int] = {}
        self._newest = revision

    @property
    def is_whole(self) -> bool:
        """Whether all changes up to the newest page have been taken."""
        return self.revision >= self._newest

    def __len__(self) -> int:
        """Providers and claims."""
        return len(self.providers) + len(self.claims or ())

    # Pages

    def add_providers(self, providers: Iterable[Provider], revision: int) -> None:
        """Take a page. Raises MismatchError, TooLargeError."""
        self._page(revision)
        for provider in providers:
            self._read_at[provider.uuid] = revision
            self._set_provider(provider.uuid, provider)
        self._check_size()

    def add_claims(self, claims: Iterable[Claim], revision: int) -> None:
        """Take a page. Raises MismatchError, TooLargeError."""
        self._page(revision)
        for claim in claims:
            self._read_at[claim.consumer] = revision
            self._set_claim(claim.consumer, claim)
        self._check_size()

    def _page(self, revision: int) -> None:
        if revision < self._newest:
            # The history has stepped back while it was read.
            raise MismatchError(f"a page is of revision {revision}, one before it of {self._newest}")
        self._newest = revision

    def _check_size(self) -> None:
        if self._most_items is not None and len(self) > self._most_items:
            raise TooLargeError(f"The account has more than {self._most_items} providers and claims.")

    def settle(self) -> None:
        """Forget what pages have seen, once the account is whole."""
        self._read_at = {}
        # A provider that went before its page was read may have had the name that another has now.
        self.by_name = {provider.name: provider.uuid for provider in self.providers.values()}

    # Changes

    def apply(self, change: AccountChange) -> None:
        """Take the change of the next revision; one that was taken already changes nothing.

        Raises MismatchError, MirrorError, TooLargeError.
        """
        if change.revision <= self.revision:
            return
        if change.revision != self.revision + 1:
            raise MismatchError(f"revision {change.revision} follows {self.revision}")
        check_is_whole(change)
        if "adopted" in change.body:
            raise MismatchError("a new history begins")
        # All is computed before anything is put in: a change that does not fit leaves the copy as it is.
        providers = {
            uuid: self._changed_provider(uuid, parts, change.revision)
            for uuid, parts in change.providers.items()
            if change.revision > self._read_at.get(uuid, 0)
        }
        claims = {
            uuid: self._changed_claim(uuid, parts, change)
            for uuid, parts in (change.consumers.items() if self.claims is not None else ())
            if change.revision > self._read_at.get(uuid, 0)
        }
        for old, new in change.renamed.items():
            self._rename(old, new, change.revision)
        for uuid, provider in providers.items():
            self._set_provider(uuid, provider)
        for uuid, claim in claims.items():
            self._set_claim(uuid, claim)
        for lease, parts in (change.body.get("leases") or {}).items():
            if parts.get("state", ("", ""))[1] == RELEASED:
                self._let_go(lease, change.revision)
        self.revision = change.revision
        self._check_size()

    def pass_over(self, revision: int) -> None:
        """No change up to a revision is missing. Raises MismatchError if some are."""
        if revision > self.revision:
            raise MismatchError(f"nothing was told of revision {self.revision + 1}")

    def _changed_provider(self, uuid: str, parts: Mapping[str, Any], revision: int) -> Provider | None:
        if parts.keys() <= {"tree"}:
            raise MirrorError(
                "The journal keeps references only ([moorage] journal = refs). A mirror needs full."
            )
        had = self.providers.get(uuid)
        before, after = parts.get("generation", (0, 0))
        if after is None:
            return None
        if before is None:
            had = Provider(uuid, "", "", {}, {}, (), (), None, None)
        elif had is None:
            self._check_absence("provider", uuid, revision)
            return None
        return _changed_provider(had, parts, is_new=before is None)

    def _changed_claim(self, uuid: str, parts: Mapping[str, Any], change: AccountChange) -> Claim | None:
        had = self._claim(uuid)
        before, after = parts["project_id"]
        if after is None:
            return None
        if before is None:
            had = Claim(uuid, "", "", None, None, change.at, {}, {})
        elif had is None:
            self._check_absence("consumer", uuid, change.revision)
            return None
        return _changed_claim(had, parts, is_new=before is None)

    def _claim(self, uuid: str) -> Claim | None:
        return None if self.claims is None else self.claims.get(uuid)

    def _check_absence(self, what: str, uuid: str, revision: int) -> None:
        """What is not there may have gone before its page was read."""
        if revision > self._newest or uuid in self._read_at:
            raise MismatchError(f"{what} {uuid} is not there")

    def _rename(self, old: str, new: str, revision: int) -> None:
        for uuid, provider in list(self.providers.items()):
            if old in (provider.inventories or {}) and revision > self._read_at.get(uuid, 0):
                self.providers[uuid] = replace(
                    provider,
                    inventories=_renamed(provider.inventories or {}, old, new),
                    used=_renamed(provider.used or {}, old, new),
                )
        for uuid, claim in list((self.claims or {}).items()):
            if old in claim.resources and revision > self._read_at.get(uuid, 0):
                held = {each: _renamed(amounts, old, new) for each, amounts in claim.providers.items()}
                self._set_claim(uuid, replace(claim, providers=held, resources=_summed(held)))

    def _let_go(self, lease: str, revision: int) -> None:
        """No claim hangs on a released lease."""
        for uuid in list(self.hanging.get(lease, ())):
            if self.claims is not None and revision > self._read_at.get(uuid, 0):
                self._set_claim(uuid, replace(self.claims[uuid], lease=None))

    def _set_provider(self, uuid: str, now: Provider | None) -> None:
        was = self.providers.pop(uuid, None)
        if was is not None:
            if self.by_name.get(was.name) == uuid:
                del self.by_name[was.name]
            _leave(self.trees, was.root, uuid)
            if was.parent is not None:
                _leave(self.children, was.parent, uuid)
        if now is not None:
            self.providers[uuid] = now
            self.by_name[now.name] = uuid
            self.trees.setdefault(now.root, {})[uuid] = None
            if now.parent is not None:
                self.children.setdefault(now.parent, {})[uuid] = None

    def _set_claim(self, uuid: str, now: Claim | None) -> None:
        assert self.claims is not None, "an account without claims takes no consumers"
        was = self.claims.pop(uuid, None)
        for provider in () if was is None else was.providers:
            _leave(self.holders, provider, uuid)
        if was is not None and was.lease is not None:
            _leave(self.hanging, was.lease, uuid)
        if now is not None:
            self.claims[uuid] = now
            if now.lease is not None:
                self.hanging.setdefault(now.lease, {})[uuid] = None
            for provider in now.providers:
                self.holders.setdefault(provider, {})[uuid] = None


def check_is_whole(change: AccountChange) -> None:
    """Raise MirrorError if the reader sees a change in part only: what it lacks would stay as it was."""
    # A mirror names no project. So the service names it the request of no change that it shows in part.
    if change.by is None:
        raise MirrorError(
            "The reader sees changes without providers: a mirror needs the policy rule "
            "moorage:changes:show_providers."
        )


def _leave(groups: dict[str, dict[str, None]], key: str, uuid: str) -> None:
    del groups[key][uuid]
    if not groups[key]:
        del groups[key]


def _renamed(amounts: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if name == old else name: amount for name, amount in amounts.items()}


def _summed(held: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for amounts in held.values():
        found.update(amounts)
    return dict(sorted(found.items()))


def _changed_provider(had: Provider, parts: Mapping[str, Any], *, is_new: bool) -> Provider:
    changed: dict[str, Any] = {}
    for name in ("name", "root", "parent", "generation"):
        if name in parts:
            before, changed[name] = parts[name]
            if not is_new:
                _check(before, getattr(had, name), had.uuid, name)
    for name in ("traits", "aggregates"):
        if name in parts:
            before, after = parts[name]
            _check(sorted(before or ()), sorted(getattr(had, name)), had.uuid, name)
            changed[name] = tuple(after or ())
    inventories, used = had.inventories or {}, dict(had.used or {})
    if "inventories" in parts:
        before, after = (
            {name: Inventory.of(each) for name, each in (told or {}).items()} for told in parts["inventories"]
        )
        _check(before, inventories, had.uuid, "inventories")
        changed["inventories"] = inventories = after
    for name, (before, after) in parts.get("used", {}).items():
        _check(before, used.get(name, 0), had.uuid, f"used {name}")
        used[name] = after
    if "inventories" in parts or "used" in parts:
        changed["used"] = {name: used.get(name, 0) for name in inventories}
    return replace(had, **changed)


def _changed_claim(had: Claim, parts: Mapping[str, Any], *, is_new: bool) -> Claim:
    changed: dict[str, Any] = {}
    for name in ("project_id", "user_id", "consumer_type", "generation"):
        if name in parts:
            before, changed[name] = parts[name]
            if not is_new:
                _check(before, getattr(had, name), had.consumer, name)
    if "lease" in parts:
        changed["lease"] = parts["lease"][1]
    if "held" in parts:
        held = {provider: dict(amounts) for provider, amounts in had.providers.items()}
        for provider, amounts in parts["held"].items():
            of_provider = held.setdefault(provider, {})
            for name, (before, after) in amounts.items():
                _check(before, of_provider.pop(name, 0), had.consumer, f"held {name}")
                if after:
                    of_provider[name] = after
            if not of_provider:
                del held[provider]
        changed["providers"], changed["resources"] = held, _summed(held)
    return replace(had, **changed)


def _check(before: object, have: object, uuid: str, what: str) -> None:
    if before != have:
        raise MismatchError(f"{what} of {uuid} was {before!r}, and the copy has {have!r}")

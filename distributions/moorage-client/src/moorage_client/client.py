"""The client: a method for each thing that the native API can do."""

from __future__ import annotations

import os
import socket
import ssl
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Callable, TypeVar
from urllib.parse import quote, urlencode

from moorage_client.answers import Claim, Json, Overview, Page, Provider, Version
from moorage_client.ask import Question, as_json
from moorage_client.auth import Auth, NoAuth
from moorage_client.changes import ChangePage, ChangeStream
from moorage_client.claiming import Claimed, Entry, Released
from moorage_client.errors import NoNativeApiError
from moorage_client.explanation import Explanation, UnmetAsk
from moorage_client.keeping import Keeper, Lease, options_of
from moorage_client.leases import LeaseShown, Renewals, Span
from moorage_client.ranking import Ranking
from moorage_client.reporting import Amounts, Finding, Reported, Resolved
from moorage_client.transport import OK, Transport

ItemT = TypeVar("ItemT")

VERSION_ID = "v1"
V1 = "/moorage/v1"

TIMEOUT_SECONDS = 60.0
"""Longest wait for a part of an answer: twice as long as a service retries."""

ATTEMPTS = 4
"""How often a request is sent, if the service cannot be reached or answers 503."""

IDS_OF_A_REQUEST = 100
"""UUIDs that one request may name."""


class Moorage:
    """A service of Moorage at ``url``, the path that it is mounted under included. Threads may share it.

    ``auth`` is a ``Token``, or ``NoAuth()`` for a service that trusts all clients. ``timeout`` is in s.
    ``ca_file`` names certificates of authorities in PEM; ``tls`` is a context of your own instead.

    Every method raises ``UnreachableError`` if nothing answers, ``UnusableAnswerError`` if no Moorage does,
    and the ``ProblemError`` of its code if the service refuses. Connections are kept until ``close``, or the
    end of a ``with`` block.
    """

    def __init__(
        self,
        url: str,
        auth: Auth | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        ca_file: str | None = None,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "moorage-client",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if attempts < 1:
            raise ValueError("a request is sent at least once")
        if tls is None and ca_file is not None:
            tls = ssl.create_default_context(cafile=ca_file)
        self._transport = Transport(
            url,
            auth or NoAuth(),
            timeout=timeout,
            attempts=attempts,
            tls=tls,
            user_agent=user_agent,
            sleep=sleep,
        )
        self._version: Version | None = None
        self._keeper = Keeper(self._renew_hastily)

    @property
    def url(self) -> str:
        """The address of the service."""
        return self._transport.url

    def __enter__(self) -> Moorage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The next request opens a new one."""
        self._transport.close()

    # The service itself

    def versions(self) -> tuple[Version, ...]:
        """All versions of the native API. Needs no token."""
        return tuple(map(Version.of, self._transport.ask("GET", "/moorage")["versions"]))

    def version(self) -> Version:
        """The version that this client speaks. It is asked for once."""
        if self._version is None:
            found = {version.id: version for version in self.versions()}
            if VERSION_ID not in found:
                spoken = ", ".join(found) or "none"
                raise NoNativeApiError(f"{self.url} has no {VERSION_ID}, but {spoken}.", OK)
            self._version = found[VERSION_ID]
        return self._version

    def supports(self, feature: str) -> bool:
        """Whether the service has a feature, such as ``explain``."""
        return feature in self.version().features

    def openapi(self) -> Json:
        """The description of the native API in OpenAPI 3.1. Needs no token."""
        return self._json("GET", f"{V1}/openapi.json")

    # The account

    def providers(
        self,
        *,
        ids: Iterable[str] | None = None,
        in_tree: str | None = None,
        name: str | None = None,
        fields: Iterable[str] = (),
        page_size: int | None = None,
    ) -> Iterator[Provider]:
        """Providers by UUID, page after page. Each page is true at a revision of its own.

        ``fields`` names what to show besides uuid, name and root: inventories, used, traits, aggregates,
        generation, parent.
        """
        wanted = {"in_tree": in_tree, "name": name, "fields": ",".join(fields) or None}
        if ids is None:
            yield from _all(lambda after: self.provider_page(limit=page_size, after=after, **wanted))
            return
        listed = list(ids)
        for start in range(0, len(listed), IDS_OF_A_REQUEST):
            some = ",".join(listed[start : start + IDS_OF_A_REQUEST])
            yield from _all(lambda after, some=some: self.provider_page(after=after, ids=some, **wanted))  # type: ignore[misc]

    def provider_page(self, **parameters: Any) -> Page[Provider]:
        """One page of providers; ``parameters`` are those of GET /moorage/v1/providers."""
        return self._page("providers", Provider.of, parameters)

    def claims(
        self,
        *,
        project_id: str | None = None,
        provider: str | None = None,
        consumer_type: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Claim]:
        """Consumers with what they hold, page after page. ``provider`` is a UUID."""
        wanted = {"project_id": project_id, "provider": provider, "type": consumer_type}
        return _all(lambda after: self.claim_page(limit=page_size, after=after, **wanted))

    def claim_page(self, **parameters: Any) -> Page[Claim]:
        """One page of claims; ``parameters`` are those of GET /moorage/v1/claims."""
        return self._page("claims", Claim.of, parameters)

    def claim_of(self, consumer: str, *, at: int | None = None, epoch: str | None = None) -> Claim:
        """What a consumer holds. Raises ``NotFoundError`` if that is nothing.

        With ``at`` it is what the consumer held at that revision, of the history ``epoch`` (None: the present
        one). One that held nothing then has no ``providers``, and "" as project and user. Raises
        ``CompactedError`` or ``DifferentHistoryError`` for a revision that the journal does not lead back to.
        """
        return Claim.of(self._shown("claims", consumer, {"at": at, "epoch": epoch}))

    def provider(
        self, uuid: str, *, at: int | None = None, epoch: str | None = None, tree: str | None = None
    ) -> Provider:
        """A provider with all that it has. Raises ``NotFoundError`` if there is none with this UUID.

        ``at`` and ``epoch`` are as in ``claim_of``. ``tree`` is the root that a provider was under which is
        gone now.
        """
        return Provider.of(self._shown("providers", uuid, {"at": at, "epoch": epoch, "tree": tree}))

    def tree(
        self, uuid: str, *, at: int | None = None, epoch: str | None = None, tree: str | None = None
    ) -> Page[Provider]:
        """All providers of the tree that a provider is in. Arguments and errors are as in ``provider``."""
        data = self._shown("trees", uuid, {"at": at, "epoch": epoch, "tree": tree})
        return Page(tuple(map(Provider.of, data["providers"])), data["revision"], None)

    def overview(self) -> Overview:
        """Capacity and use of each tree, in columns."""
        return Overview.of(self._json("GET", f"{V1}/overview"))

    def change_page(self, **parameters: Any) -> ChangePage:
        """One page of changes; ``parameters`` are those of GET /moorage/v1/changes.

        Raises ``CompactedError`` or ``DifferentHistoryError`` if the journal does not go on from ``after``.
        """
        return ChangePage.of(self._listed("changes", parameters))

    def change_stream(self, **parameters: Any) -> ChangeStream:
        """Changes as they are committed, with ``parameters`` as in ``change_page``.

        The stream ends after some time, and when the service stops. ``Mirror`` goes on by itself.
        """
        return ChangeStream(self._transport.stream(_path("changes", parameters)))

    # Writes

    def claim(
        self,
        ask: Question | None = None,
        *,
        entries: Iterable[Entry] = (),
        mode: str | Json | None = None,
        explain: str | None = None,
        key: str | None = None,
        **parts: Any,
    ) -> Claimed:
        """Find a place and claim it, in one step.

        ``ask`` is as in ``explain``; ``parts`` are the other fields of ``Entry``, such as ``count``,
        ``order``, ``labels``, or ``allocations`` in place of an ask. ``entries`` are for several different
        claims, in place of both. ``mode`` is ``all`` (the default), ``each`` or ``{"at_least": 2}``.
        ``explain="never"`` leaves out why there is no room, ``"always"`` also says why a place was chosen.

        A request that got no answer is sent again with the same idempotency key, so that it takes effect
        once. The client makes a key for each call. Give your own ``key`` (1 to 255 visible ASCII characters)
        to repeat the call from another process. Raises ``NoRoomError`` or ``NeverFitsError`` if nothing fits,
        ``OutcomeUnknownError`` or ``UnreachableError`` if it is not known what became of the request.
        """
        wanted = list(entries)
        if wanted and (ask is not None or parts):
            raise ValueError("entries stand in place of an ask and its parts")
        body = {
            "claims": [each.to_json() for each in wanted or (Entry(ask, **parts),)],
            "mode": mode,
            "explain": explain,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return Claimed.of(self._written("POST", f"{V1}/claims", given, key))

    def release(self, consumers: Iterable[str], *, key: str | None = None) -> Released:
        """Release all that some consumers hold, in one commit. ``key`` is as in ``claim``.

        Consumers that hold nothing are named in ``absent``.
        """
        body = {"consumers": [consumers] if isinstance(consumers, str) else list(consumers)}
        return Released.of(self._written("POST", f"{V1}/releases", body, key))

    def report(
        self,
        source: str,
        trees: Iterable[str],
        consumers: Mapping[str, Amounts | None],
        *,
        complete: bool,
        consumer_types: Iterable[str] | None = None,
        owners: Mapping[str, Json] | None = None,
        accept_shrink: bool | None = None,
    ) -> Reported:
        """Report what is really there in some trees, in the name of a source.

        ``trees`` are the UUIDs of their roots. ``consumers``: what each consumer has, None if that is not
        known. ``complete``: a consumer that is not named is not there. ``consumer_types``: only consumers of
        these types are the source's business. ``owners``: ``project_id``, ``user_id`` and perhaps
        ``consumer_type`` by consumer. ``accept_shrink``: believe the report although it has far fewer
        consumers than the last one. Sending the same report again does no harm.
        """
        covers: dict[str, Any] = {"trees": list(trees)}
        if consumer_types is not None:
            covers["consumer_types"] = list(consumer_types)
        body = {
            "covers": covers,
            "complete": complete,
            "consumers": consumers,
            "owners": owners,
            "accept_shrink": accept_shrink,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return Reported.of(self._json("PUT", f"{V1}/reports/{quote(source, safe='')}", given))

    def resolve(
        self, finding: str, action: str, *, allow_overcommit: bool | None = None, key: str | None = None
    ) -> Resolved:
        """``heal``, ``quarantine``, ``ignore`` or ``reopen`` a finding, by its id.

        ``key`` is as in ``claim``. Healing lets the consumer hold what is reported, so that what is leaked is
        released. ``quarantine`` hangs it on a quarantined lease instead. ``allow_overcommit`` heals even if
        there is no room. Raises ``GenerationConflictError`` if the claim
        has changed since the report, ``CannotHealError`` if the finding says too little.
        """
        body = {"action": action, "allow_overcommit": allow_overcommit}
        given = {name: value for name, value in body.items() if value is not None}
        path = f"{V1}/findings/{quote(finding, safe='')}/resolution"
        return Resolved.of(self._written("POST", path, given, key))

    def findings(
        self,
        *,
        kind: str | None = None,
        source: str | None = None,
        state: str | None = None,
        consumer: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Finding]:
        """What reports and the account disagree about, page after page."""
        wanted = {"kind": kind, "source": source, "state": state, "consumer": consumer}
        return _all(
            lambda after: self._page("findings", Finding.of, {"limit": page_size, "after": after, **wanted})
        )

    def finding(self, finding: str) -> Finding:
        """One finding, by its id. Raises ``NotFoundError`` if the last report no longer shows it."""
        return Finding.of(self._shown("findings", finding, {}))

    # Leases

    def lease(
        self,
        ttl: Span = 60.0,
        *,
        grace: Span | None = None,
        owner: str | None = None,
        on_expiry: str | None = None,
        max_life: Span | None = None,
        at_end: str = "release",
        through_grace: bool = False,
    ) -> Lease:
        """A lease that is held during a ``with`` block, and renewed by a thread meanwhile.

        Durations are seconds, or texts such as ``8h``. It is granted when the block begins. ``at_end`` says
        what becomes of its claims when the block ends: ``release``, ``keep`` (without a lease), or ``leave``:
        the lease is not ended, only renewed no more.

        It is lost when ``ttl`` has passed since the last confirmed renewal was sent, by this machine's clock.
        With ``through_grace`` the client goes on trying until its grace has passed as well, because the
        service takes nothing away before. ``owner`` is this process by default. For ``on_expiry`` and
        ``max_life`` see ``grant_lease``. Raises ValueError for a wrong option.
        """
        options = options_of(ttl, grace, max_life, owner=owner, on_expiry=on_expiry)
        return Lease(self, self._keeper, options, at_end=at_end, through_grace=through_grace)

    def grant_lease(
        self,
        ttl: Span = 60.0,
        *,
        owner: str | None = None,
        grace: Span | None = None,
        on_expiry: str | None = None,
        max_life: Span | None = None,
        key: str | None = None,
    ) -> LeaseShown:
        """A new lease, which nothing renews unless you do.

        Its claims stay for ``ttl`` after its grant and each renewal, and then for ``grace``. After that
        ``on_expiry`` says what becomes of them: ``quarantine`` (the default) or ``release``. ``max_life``
        ends it whatever is renewed. ``key`` is as in ``claim``.
        """
        owner = owner or f"{socket.gethostname()}:{os.getpid()}"
        body = options_of(ttl, grace, max_life, owner=owner, on_expiry=on_expiry)
        return LeaseShown.of(self._written("POST", f"{V1}/leases", body, key))

    def renew_leases(self, leases: Iterable[str]) -> Renewals:
        """Renew leases in one request."""
        return Renewals.of(self._json("POST", f"{V1}/leases/renewals", {"leases": list(leases)}))

    def lease_of(self, lease: str) -> LeaseShown:
        """A lease. Raises ``NotFoundError`` if none with this UUID is known."""
        return LeaseShown.of(self._shown("leases", lease, {}))

    def leases(
        self,
        *,
        state: str | None = None,
        owner: str | None = None,
        project_id: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[LeaseShown]:
        """Leases, page after page."""
        wanted = {"state": state, "owner": owner, "project_id": project_id}
        return _all(lambda after: self.lease_page(limit=page_size, after=after, **wanted))

    def lease_page(self, **parameters: Any) -> Page[LeaseShown]:
        """One page of leases; ``parameters`` are those of GET /moorage/v1/leases."""
        return self._page("leases", LeaseShown.of, parameters)

    def end_lease(self, lease: str, *, claims: str = "keep", key: str | None = None) -> LeaseShown:
        """End a lease. Its ``claims`` stay without it (``keep``), or are taken away (``release``).

        Raises ``LeaseGoneError`` if it has ended already.
        """
        path = _path(f"leases/{quote(lease, safe='')}", {"claims": claims})
        return LeaseShown.of(self._written("DELETE", path, None, key))

    def resolve_lease(self, lease: str, action: str, *, key: str | None = None) -> LeaseShown:
        """Decide about a quarantined lease: ``release`` its claims, or ``restore`` it with its full ttl."""
        path = _path(f"leases/{quote(lease, safe='')}/resolution", {})
        return LeaseShown.of(self._written("POST", path, {"action": action}, key))

    def attach(self, lease: str, consumer: str, *, key: str | None = None) -> LeaseShown:
        """Let what a consumer holds end with a lease, in place of any other lease."""
        return LeaseShown.of(self._written("PUT", _claim_path(lease, consumer), None, key))

    def detach(self, lease: str, consumer: str, *, key: str | None = None) -> LeaseShown:
        """Let what a consumer holds stay without its lease."""
        return LeaseShown.of(self._written("DELETE", _claim_path(lease, consumer), None, key))

    def _renew_hastily(self, leases: Sequence[str], timeout: float) -> Renewals:
        transport = self._transport.hasty(timeout)
        try:
            return Renewals.of(transport.ask("POST", f"{V1}/leases/renewals", {"leases": list(leases)}))
        finally:
            transport.close()

    # Questions

    def explain(
        self,
        ask: Question,
        *,
        at: str | None = None,
        count: int | None = None,
        project_id: str | None = None,
        **options: Any,
    ) -> Explanation:
        """Why a request finds no room, or what it finds.

        ``ask`` is an ``Ask``, the JSON of one, or a query of Placement as a log shows it. ``at`` asks of the
        tree of one provider only, by name or UUID. ``count`` says how often to place the request.
        ``project_id`` is the project that asks. Further ``options`` are fields of POST
        /moorage/v1/explanations.
        """
        body = {"ask": as_json(ask), "at": at, "count": count, "project_id": project_id, **options}
        given = {name: value for name, value in body.items() if value is not None}
        return Explanation.of(self._json("POST", f"{V1}/explanations", given))

    def candidates(
        self,
        ask: Question,
        *,
        order: Json | None = None,
        limit: int | None = None,
        per_tree: str | None = None,
        summaries: bool | None = None,
    ) -> Ranking:
        """The best candidates for a request, in order.

        ``ask`` is as in ``explain``. ``order`` is the JSON of an Order, such as ``{"strategy": "pack",
        "prefer": [{"trait": "CUSTOM_NVME", "weight": 2}]}``. ``per_tree`` is ``best`` (each tree once, the
        default) or ``all``. ``summaries``: show the providers of the candidates' trees.
        """
        body = {
            "ask": as_json(ask),
            "order": order,
            "limit": limit,
            "per_tree": per_tree,
            "summaries": summaries,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return Ranking.of(self._json("POST", f"{V1}/candidates", given))

    def explanation(self, request_id: str) -> Explanation:
        """The explanation that the service has kept of a search that found nothing.

        ``request_id`` is the service's own, or the one that the client of the search sent. Raises
        ``NotFoundError`` if it has kept none.
        """
        return Explanation.of(self._json("GET", f"{V1}/explanations/{quote(request_id, safe='')}"))

    def unmet(self, *, since: str | None = None, limit: int | None = None) -> tuple[UnmetAsk, ...]:
        """What searches did not find, the most frequent first.

        ``since`` is a span such as ``24h``, or a time in ISO 8601.
        """
        data = self._listed("unmet", {"since": since, "limit": limit})
        return tuple(map(UnmetAsk.of, data["unmet"]))

    def _page(self, noun: str, read: Callable[[Json], ItemT], parameters: Json) -> Page[ItemT]:
        data = self._listed(noun, parameters)
        return Page(tuple(map(read, data[noun])), data["revision"], data.get("next"))

    def _shown(self, noun: str, uuid: str, parameters: Json) -> Json:
        return self._listed(f"{noun}/{quote(uuid, safe='')}", parameters)

    def _listed(self, noun: str, parameters: Json) -> Json:
        return self._json("GET", _path(noun, parameters))

    def _written(self, method: str, path: str, body: Json | None, key: str | None) -> Json:
        data: Json = self._transport.ask(method, path, body, str(uuid.uuid4()) if key is None else key)
        return data

    def _json(self, method: str, path: str, body: Json | None = None) -> Json:
        data: Json = self._transport.ask(method, path, body)
        return data


def _path(noun: str, parameters: Json) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return f"{V1}/{noun}?{query}" if query else f"{V1}/{noun}"


def _claim_path(lease: str, consumer: str) -> str:
    return _path(f"leases/{quote(lease, safe='')}/claims/{quote(consumer, safe='')}", {})


def _all(page_after: Callable[[str | None], Page[ItemT]]) -> Iterator[ItemT]:
    after: str | None = None
    while True:
        page = page_after(after)
        yield from page.items
        if page.next is None:
            return
        after = page.next

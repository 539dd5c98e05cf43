"""``moorage changes`` and ``moorage history`` as a person types them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from moorage.cli.client import recorded
from moorage.cli.client.connection import RefusedError, ServiceConnection
from moorage.cli.client.recorded import followed, newest, newest_of_project
from tests.unit.cli.client.conftest import Terminal, answering
from tests.unit.cli.client.test_claim import refusing
from tests.unit.cli.client.test_connection import stub

CLAIMED = "cccc0000-0000-4000-8000-000000000001"
OTHER = "cccc0000-0000-4000-8000-000000000002"
UNKNOWN = "cccc0000-0000-4000-8000-00000000dead"


@pytest.fixture
def claimed(host: Terminal) -> Terminal:
    """``host1`` with two consumers of two projects, one of which has given back half."""
    host.does("allocation", "set", CLAIMED, "host1:VCPU=4", "--project", "p", "--user", "u")
    host.does("allocation", "set", OTHER, "host1:VCPU=1", "--project", "q", "--user", "v")
    host.does("allocation", "set", CLAIMED, "host1:VCPU=2", "--project", "p", "--user", "u")
    return host


# changes


def test_each_change_names_its_revision_its_request_and_values_before_and_after(claimed: Terminal) -> None:
    told = claimed.does("changes").splitlines()
    [last] = [place for place, line in enumerate(told) if not line.startswith(" ")][-1:]
    revision, at, kind, by = told[last].split("  ")[:4]
    assert revision == str(claimed.json("changes", "--after", "now")["revision"])
    assert at.endswith("Z")
    assert kind.startswith("allocations.")
    assert by == "by admin of admin"
    assert told[last + 1 :] == [f"  consumer {CLAIMED} host1 VCPU: 4 -> 2"]


def test_what_a_provider_has_and_names_that_came_are_told(claimed: Terminal) -> None:
    told = claimed.does("changes", "--after", "0")
    assert "  host1 name: host1 (new)\n" in told
    assert "  trait CUSTOM_A100: created\n" in told
    assert "  gpu1 traits: +CUSTOM_A100\n" in told
    assert "host1 in use" not in told, "what a consumer holds tells what is in use"
    assert "generation" not in told


def test_filters_select_changes(claimed: Terminal) -> None:
    def kinds(*options: str) -> list[str]:
        return [each["kind"] for each in claimed.json("changes", "--after", "0", *options)["changes"]]

    everything = kinds()
    claims = [kind for kind in everything if kind.startswith("allocations")]
    assert len(claims) == 3
    assert kinds("--kinds", "allocations") == claims
    assert kinds("--consumer", CLAIMED) == claims[:2]
    assert kinds("--project", "q") == claims[:1]
    of_tree = kinds("--tree", "gpu1")
    assert set(claims) < set(of_tree)
    assert "trait.create" not in of_tree
    assert kinds("--tree", UNKNOWN) == []


def test_pages_follow_each_other(claimed: Terminal) -> None:
    first = claimed.does("changes", "--after", "0", "--limit", "2")
    assert first.endswith("There are more: --after 2 shows the next page.\n")
    assert claimed.json("changes", "--after", "2", "--limit", "1")["changes"][0]["revision"] == 3


def test_nothing_yet_is_said(claimed: Terminal) -> None:
    revision = claimed.json("changes", "--after", "now")["revision"]
    assert claimed.does("changes", "--after", "now") == f"None up to revision {revision}.\n"


def test_a_beginning_that_is_no_revision_is_refused(terminal: Terminal) -> None:
    assert "'soon' is neither a revision nor 'now'" in terminal.refused(
        "changes", "--after", "soon", status=2
    )


def test_a_tree_that_never_was_is_unknown(host: Terminal) -> None:
    assert "Did you mean host1?" in host.refused("changes", "--tree", "host")


def test_a_beginning_ahead_of_the_history_is_refused_with_a_way_out(terminal: Terminal) -> None:
    told = terminal.refused("changes", "--after", "999999")
    assert "without --after begins with the newest changes" in told


def _record(revision: int, **parts: Any) -> dict[str, Any]:
    return {"revision": revision, "at": "2026-01-01T00:00:00Z", "kind": "k", "by": None, **parts}


def _page(revision: int, *records: dict[str, Any], next_after: int | None = None) -> dict[str, Any]:
    after = revision if next_after is None else next_after
    return {"revision": revision, "epoch": "e", "next_after": after, "more": False, "changes": list(records)}


def _ok(body: Any) -> tuple[str, bytes]:
    return "200 OK", json.dumps(body).encode()


def _gone(compacted: int) -> tuple[str, bytes]:
    present = {"compacted": compacted, "restart_after": compacted + 9}
    problem = {"type": "t", "code": "compacted", "detail": "Changes are gone.", **present}
    return "410 Gone", json.dumps(problem).encode()


def _busy() -> tuple[str, bytes]:
    return "503 Busy", json.dumps({"type": "t", "code": "busy", "detail": "Too many wait."}).encode()


class Answers:
    """Answers in turn, and the queries of the requests."""

    def __init__(self, *answers: tuple[str, bytes]) -> None:
        self.queries: list[str] = []
        self._answers = iter(answers)

    def __call__(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        self.queries.append(environ["QUERY_STRING"])
        return next(self._answers)


def test_one_page_after_the_other_is_followed(terminal: Terminal) -> None:
    answers = Answers(_ok(_page(7, _record(7))), _ok(_page(9, next_after=9)))
    with answering(stub(answers)) as url, ServiceConnection(url, "t") as service:
        first = _page(5)
        pages = itertools.islice(followed(service, {"kinds": "k"}, first), 3)
        assert [page["revision"] for page in pages] == [5, 7, 9]
    assert answers.queries == [
        "kinds=k&after=5&epoch=e&wait=25s",
        "kinds=k&after=7&epoch=e&wait=25s",
    ]


def test_a_page_that_does_not_come_is_asked_for_again(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = Answers(_busy(), _busy(), _ok(_page(7)), _gone(50))
    waits: list[float] = []
    with answering(refusing(answers)) as url, ServiceConnection(url, "t") as service:
        pages = followed(service, {}, _page(5), waits.append)
        assert [next(pages)["revision"], next(pages)["revision"]] == [5, 7]
        with pytest.raises(RefusedError, match="gone"):
            next(pages)
    assert waits == [1.0, 2.0]
    assert "The next try is in 2 s." in capsys.readouterr().err


def test_a_service_that_is_away_is_waited_for(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    class EnoughError(Exception):
        pass

    def wait(_seconds: float) -> None:
        raise EnoughError

    with answering(stub(lambda _: _ok({}))) as url:
        pass
    with ServiceConnection(url, "t") as service:
        pages = followed(service, {}, _page(5), wait)
        next(pages)
        with pytest.raises(EnoughError):
            next(pages)
    assert "No answer. The next try after revision 5 is in 1 s." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("json", '{"revision": 7, '),
        ("yaml", "---\nrevision: 7\n"),
        ("table", "7  2026-01-01T00:00:00Z  k\n  resource class A: renamed to B\n"),
    ],
)
def test_followed_changes_are_shown_as_they_come_and_a_gap_is_an_error(
    form: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers(_ok(_page(7, _record(7, renamed={"A": "B"}))), _gone(50))
    with answering(refusing(answers)) as url:
        result = Terminal(url).run("changes", "--follow", "-f", form)
    assert result.exit_code == 1
    assert result.stdout.startswith(shown)
    assert "Changes are gone." in result.stderr
    assert answers.queries == ["after=now", "after=7&epoch=e&wait=25s"]


def test_the_newest_changes_begin_where_the_journal_does(terminal: Terminal) -> None:
    answers = Answers(_ok(_page(100)), _gone(95), _ok(_page(100, _record(96))))
    with answering(refusing(answers)) as url, ServiceConnection(url, "t") as service:
        assert newest(service, {}, 20)["changes"][0]["revision"] == 96
    assert answers.queries == ["after=now&limit=1", "after=80", "after=95"]


def test_the_newest_changes_need_a_reason_to_begin_elsewhere() -> None:
    answers = Answers(_ok(_page(100)), _busy())
    with (
        answering(refusing(answers)) as url,
        ServiceConnection(url, "t") as service,
        pytest.raises(RefusedError),
    ):
        newest(service, {}, 20)


def test_a_service_without_changes_is_named() -> None:
    with answering(stub(lambda _: ("404 Not Found", b"{}"))) as url:
        told = Terminal(url).refused("changes")
    assert "lists no changes" in told


def test_every_part_of_a_record_has_words() -> None:
    names = {"u1": "h1", "u2": "u2", "u3": "u3"}
    record = _record(
        1,
        providers={
            "u1": {"tree": "u1", "used": {"VCPU": [1, 3]}},
            "u2": {"tree": "u1"},
            "u3": {"tree": "u1", "parent": ["u1", "u2"]},
        },
        consumers={
            "c1": {"project_id": ["p", "p"], "resources": {"VCPU": [0, 2]}},
            "c2": {"project_id": ["p", "p"]},
            "c3": {"project_id": ["p", "p"], "lease": [None, "l1"]},
        },
        leases={"l1": {"project_id": "p", "owner": "agent", "state": ["active", "expired"]}},
        resource_classes={"A": [True, False]},
        adopted={"providers": 2, "consumer_types": 1},
    )
    assert list(recorded.lines(record, names)) == [
        "consumer c1 resources VCPU: 0 -> 2",
        "consumer c2",
        "consumer c3 lease: l1 (new)",
        "h1 in use VCPU: 1 -> 3",
        "u2",
        "u3 parent: u1 -> u2",
        "lease l1 of agent: active -> expired",
        "resource class A: deleted",
        "A new history begins with 2 providers, 1 consumer types.",
    ]


def test_the_request_of_the_client_stands_before_that_of_the_service() -> None:
    by = {"user_id": "u", "project_id": "p", "request_id": "req-1", "global_request_id": "req-2"}
    assert recorded.heading({**_record(1), "by": by}).endswith("  by u of p  req-2")


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ({}, "by the service"),
        ({"leases": {}}, "by the keeper"),
        ({"consumers": {"c": {"lease": ["l", None]}}}, "by the keeper"),
        ({"path": "placement"}, "a.kind"),
    ],
)
def test_what_no_client_has_asked_for_is_told_by_its_cause(parts: dict[str, Any], end: str) -> None:
    by = dict.fromkeys(("user_id", "project_id", "request_id", "global_request_id"))
    record = {**_record(1), "kind": "a.kind", "path": "service", "by": by, **parts}
    assert recorded.heading(record).endswith(end)


# history


def test_the_history_of_a_consumer_begins_with_the_newest_change(claimed: Terminal) -> None:
    told = claimed.does("history", "consumer", CLAIMED)
    assert [line for line in told.splitlines() if "VCPU" in line] == [
        f"  consumer {CLAIMED} host1 VCPU: 4 -> 2",
        f"  consumer {CLAIMED} host1 VCPU: 0 -> 4",
    ]
    short = claimed.does("history", "consumer", CLAIMED, "--limit", "1")
    assert "4 -> 2" in short
    [before] = [line.split()[4] for line in short.splitlines() if line.startswith("There are more")]
    assert "VCPU: 0 -> 4" in claimed.does("history", "consumer", CLAIMED, "--before", before)


def test_a_consumer_without_history_is_a_no(claimed: Terminal) -> None:
    told = claimed.does("history", "consumer", UNKNOWN, status=3)
    assert told.startswith("Nothing is recorded of it. The journal begins with revision ")


def test_the_history_of_a_provider_goes_on_after_its_end(claimed: Terminal) -> None:
    uuid = claimed.json("provider", "show", "gpu1")["uuid"]
    assert "gpu1 traits: +CUSTOM_A100" in claimed.does("history", "provider", "gpu1")
    claimed.does("provider", "delete", "gpu1")
    assert "no resource provider 'gpu1'" in claimed.refused("history", "provider", "gpu1")
    assert "gpu1 name: none (was gpu1)" in claimed.does("history", "provider", uuid, "--tree", "host1")


def test_the_history_of_a_project_has_its_consumers_only(claimed: Terminal) -> None:
    found = claimed.json("history", "project", "p")
    assert [list(each["consumers"]) for each in found["changes"]] == [[CLAIMED], [CLAIMED]]
    assert found["next_before"] is None
    one = claimed.json("history", "project", "p", "--limit", "1")
    assert one["changes"] == found["changes"][:1]
    older = claimed.json("history", "project", "p", "--before", str(one["next_before"]))
    assert older["changes"] == found["changes"][1:]
    assert claimed.does("history", "project", "nobody", status=3).startswith("Nothing is recorded of it.")


def test_a_state_of_the_past_is_shown_in_place_of_changes(claimed: Terminal) -> None:
    newest, oldest = claimed.json("history", "consumer", CLAIMED)["changes"]
    at = str(oldest["revision"])
    told = claimed.does("history", "consumer", CLAIMED, "--at", at)
    assert "VCPU" in told
    assert claimed.json("history", "consumer", CLAIMED, "--at", at)["resources"] == {"VCPU": 4}
    empty = claimed.does("history", "consumer", CLAIMED, "--at", "3", status=3)
    assert empty == f"{CLAIMED} holds nothing.\n"
    now, then = (
        claimed.json("history", "provider", "host1", "--at", str(each["revision"]))["used"]["VCPU"]
        for each in (newest, oldest)
    )
    assert (now, then) == (3, 4)
    told = claimed.does("history", "provider", "gpu1", "--at", at)
    assert [line.split() for line in told.splitlines() if line.startswith(("parent", "root", "traits"))] == [
        ["parent", "host1"],
        ["root", "host1"],
        ["traits", "CUSTOM_A100"],
    ]
    assert "--before is for changes" in claimed.refused(
        "history", "provider", "gpu1", "--at", at, "--before", at, status=2
    )


def test_a_project_at_a_revision_has_what_its_consumers_held(claimed: Terminal) -> None:
    newest, oldest = claimed.json("history", "consumer", CLAIMED)["changes"]

    def held(at: int, project: str = "p") -> dict[str, dict[str, int]]:
        found = claimed.json("history", "project", project, "--at", str(at))
        assert found["revision"] == at
        return {each["consumer"]: each["resources"] for each in found["claims"]}

    assert held(newest["revision"]) == {CLAIMED: {"VCPU": 2}}
    assert held(oldest["revision"]) == {CLAIMED: {"VCPU": 4}}
    assert held(newest["revision"], "q") == {OTHER: {"VCPU": 1}}
    claimed.does("allocation", "delete", CLAIMED)
    told = claimed.does("history", "project", "p", "--at", str(newest["revision"]))
    assert [line.split() for line in told.splitlines() if CLAIMED in line] == [
        [CLAIMED, "INSTANCE", "host1", "VCPU=2"]
    ]
    none = claimed.does("history", "project", "p", "--at", str(oldest["revision"] - 1), status=3)
    assert none == f"Its consumers held nothing at revision {oldest['revision'] - 1}.\n"


def _project(*answers: tuple[str, bytes], limit: int = 2) -> tuple[Any, list[str]]:
    given = Answers(*answers)
    with answering(refusing(given)) as url, ServiceConnection(url, "t") as service:
        return newest_of_project(service, "p", None, limit), given.queries


def test_a_project_is_looked_for_further_and_further_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "WINDOW", 10)
    found, queries = _project(
        _ok(_page(25)),
        _ok(_page(25, _record(16), next_after=20)),
        _ok(_page(25, _record(24), next_after=25)),
        _ok(_page(25, _record(9), _record(17), next_after=15)),
    )
    assert [each["revision"] for each in found["changes"]] == [24, 16]
    assert found["next_before"] == 16
    assert [query.rpartition("after=")[2] for query in queries] == ["now&limit=1", "15", "20", "5"]


def test_a_project_is_looked_for_where_the_journal_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "WINDOW", 10)
    found, queries = _project(
        _ok(_page(25)), _ok(_page(25, next_after=25)), _gone(12), _ok(_page(25, _record(13), next_after=25))
    )
    assert [each["revision"] for each in found["changes"]] == [13]
    assert found["begins"] == 13
    assert queries[-1].endswith("after=12")


def test_other_refusals_are_told() -> None:
    with answering(refusing(lambda _: _busy())) as url:
        assert "Too many wait." in Terminal(url).refused("changes")

"""``moorage claim`` as a person types it, and how often it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from moorage.cli.client.connection import PROBLEM_TYPE, NoAnswerError, RefusedError, ServiceConnection
from moorage.cli.shared.names import consumer_uuid
from tests.unit.cli.client.conftest import Terminal, answering
from tests.unit.cli.client.test_connection import stub

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
WRITTEN = "cccc0000-0000-4000-8000-000000000001"

Answers = Callable[[dict[str, Any]], tuple[str, bytes]]
Sent = list[tuple[str | None, Any]]


def refusing(answers: Answers) -> Any:
    """A service whose answers are problems, by their type."""
    answered = stub(answers)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> None:
            start_response(status, [("Content-Type", PROBLEM_TYPE), *headers[1:]])

        body: Iterable[bytes] = answered(environ, start)
        return body

    return application


@pytest.fixture
def hosts(host: Terminal) -> Terminal:
    """``host1`` with a GPU below it, half in use, and the smaller ``host2``."""
    host.does("provider", "create", "host2")
    host.does("inventory", "set", "host2", "VCPU=4")
    host.does("allocation", "set", WRITTEN, "host1:VCPU=4", "--project", "p", "--user", "u")
    return host


def held(terminal: Terminal, consumer: str) -> dict[str, Any]:
    found: dict[str, Any] = terminal.json("claim", "show", consumer)
    return found


# create


def test_a_claim_names_place_consumer_revision_and_score(hosts: Terminal) -> None:
    text = hosts.does("claim", "create", "--resources", "VCPU=2", "--order", "pack")
    found = re.fullmatch(
        rf"Claimed on host1 as ({UUID}) \(revision (\d+), score 0\.7500, best of 2 trees\)\.\n", text
    )
    assert found is not None, text
    shown = held(hosts, found[1])
    assert (shown["resources"], shown["consumer_type"]) == ({"VCPU": 2}, None)
    assert shown["revision"] == int(found[2])


def test_a_claim_without_an_order_has_no_score(hosts: Terminal) -> None:
    text = hosts.does("claim", "create", "--query", "GET /allocation_candidates?resources=VCPU:2 HTTP/1.1")
    assert re.fullmatch(rf"Claimed on host\d as {UUID} \(revision \d+\)\.\n", text), text


def test_a_claim_of_several_providers_names_all(hosts: Terminal) -> None:
    text = hosts.does("claim", "create", "--resources", "VCPU=1", "--group", "gpu:PGPU=1,CUSTOM_A100")
    assert text.startswith("Claimed on gpu1 and host1 as ")


def test_consumer_owner_and_type_are_those_that_are_named(hosts: Terminal) -> None:
    owner = ("--project", "demo", "--user", "me", "--type", "INSTANCE")
    text = hosts.does("claim", "create", "--resources", "VCPU=1", "--consumer", "job", *owner)
    uuid = consumer_uuid("job")
    assert f" as job ({uuid}) (revision" in text
    shown = held(hosts, "job")
    assert (shown["consumer"], shown["project_id"], shown["user_id"], shown["consumer_type"]) == (
        uuid,
        "demo",
        "me",
        "INSTANCE",
    )
    text = hosts.refused("claim", "create", "--resources", "VCPU=1", "--consumer", "job")
    assert "'moorage claim show CONSUMER' shows what it holds" in text


def test_several_claims_are_made_together(hosts: Terminal) -> None:
    made = hosts.json("claim", "create", "--resources", "VCPU=2", "--count", "3")
    assert [claim["index"] for claim in made["claims"]] == [0, 1, 2]
    named = ("--consumer", "a", "--consumer", "b")
    text = hosts.does("claim", "create", "--resources", "MEMORY_MB=1", *named)
    assert [line.partition(" (")[0].rpartition(" as ")[2] for line in text.splitlines()] == ["a", "b"]
    assert "Name 3 different consumers, or none." in hosts.refused(
        "claim", "create", "--resources", "VCPU=1", "--count", "3", *named, status=2
    )


def test_a_mode_says_how_many_must_find_a_place(hosts: Terminal) -> None:
    """There is room for four: two on each host."""
    three = ("claim", "create", "--resources", "VCPU=2", "--count", "5")
    text = hosts.does(*three, status=3)
    assert re.match(r"Refused at revision \d+: there is no place for claim 5 of 5\.\n", text), text
    assert hosts.json(*three, "--mode", "5", status=3)["code"] == "no_room"
    text = hosts.does(*three, "--mode", "4")
    assert text.count("Claimed on host") == 4
    assert "1 of 5 claims find no place.\nNo tree can serve this now" in text


def test_each_makes_the_claims_that_find_a_place(hosts: Terminal) -> None:
    made = hosts.json("claim", "create", "--resources", "VCPU=3", "--count", "3", "--mode", "each")
    assert (len(made["claims"]), len(made["unplaced"])) == (2, 1)


@pytest.mark.parametrize("mode", ["some", "0", "-1", "", "²"])
def test_what_is_no_mode_is_refused(terminal: Terminal, mode: str) -> None:
    text = terminal.refused("claim", "create", "--resources", "VCPU=1", f"--mode={mode}", status=2)
    assert f"'{mode}' is neither all nor each, nor a number of claims." in text


@pytest.mark.parametrize("words", [[], ["--query", "resources=VCPU:1", "--resources", "VCPU=1"]])
@pytest.mark.parametrize("command", [["create"], ["move", "job"]])
def test_a_claim_says_what_it_needs_once(terminal: Terminal, command: list[str], words: list[str]) -> None:
    text = terminal.refused("claim", *command, *words, status=2)
    assert "Use --query, or say what is needed by --resources and --group, or claim" in text


def test_names_that_do_not_exist_are_explained(hosts: Terminal) -> None:
    one = ("claim", "create", "--resources")
    assert "Did you mean VCPU" in hosts.refused(*one, "VCPUS=1")
    assert "Did you mean CUSTOM_A100" in hosts.refused(*one, "VCPU=1", "--prefer", "CUSTOM_A10")
    assert "No such resource class VCPUS" in hosts.refused("claim", "create", "--query", "resources=VCPUS:1")


# A refusal


def test_a_refusal_says_why_as_why_does(hosts: Terminal) -> None:
    hosts.does("claim", "create", "--resources", "VCPU=4", "--in-tree", "host1")
    text = hosts.does("claim", "create", "--resources", "VCPU=8", status=3)
    first, _, rest = text.partition("\n")
    assert re.fullmatch(r"Refused at revision \d+: there is no place\.", first)
    assert rest == hosts.does("why", "--resources", "VCPU=8", status=3)
    assert "Nearest:" in rest
    data = hosts.json("claim", "create", "--resources", "VCPU=8", status=3)
    assert (data["code"], data["explanation"]["verdict"]) == ("no_room", "no_room")


def test_what_never_fits_is_a_no_too(hosts: Terminal) -> None:
    data = hosts.json("claim", "create", "--resources", "VCPU=99", status=3)
    assert data["code"] == "never_fits"


def test_a_refusal_need_not_be_explained(hosts: Terminal) -> None:
    text = hosts.does("claim", "create", "--resources", "VCPU=99", "--no-explain", status=3)
    assert text.splitlines()[1:] == ["No tree could serve the request even if nothing were used."]


def test_a_claim_is_explained_if_wanted(hosts: Terminal) -> None:
    options = ("claim", "create", "--resources", "VCPU=1", "--order", "pack")
    text = hosts.does(*options, "--explain")
    assert text.startswith("Claimed on host1")
    assert "2 of 2 trees" in text
    assert "host2" in text
    made = hosts.json(*options, "--explain")
    assert made["claims"][0]["explanation"]["verdict"] == "fits"
    assert "explanation" not in hosts.json(*options)["claims"][0]


def test_a_claim_may_be_exact(hosts: Terminal) -> None:
    host2 = hosts.json("provider", "show", "host2")["uuid"]
    text = hosts.does("claim", "create", "--allocation", "host2:VCPU=2", "--consumer", "job")
    assert text.startswith("Claimed on host2 as job")
    assert held(hosts, "job")["providers"] == {host2: {"VCPU": 2}}
    hosts.does("claim", "move", "job", "--allocation", f"{host2}:VCPU=1")
    assert held(hosts, "job")["providers"] == {host2: {"VCPU": 1}}
    text = hosts.does("claim", "create", "--allocation", "host2:VCPU=9", status=3)
    assert "would exceed the" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resources", "VCPU=1", "--allocation", "host1:VCPU=1"], "nothing is searched for"),
        (["--order", "pack", "--allocation", "host1:VCPU=1"], "nothing is searched for"),
        (["--allocation", "host1:VCPU=1", "--allocation", "host1:VCPU=2"], "named twice"),
        (["--resources", "VCPU=1", "--label", "job"], "is not NAME=VALUE"),
        (["--resources", "VCPU=1", "--label", "a=1", "--label", "a=2"], "there twice"),
        (["--resources", "VCPU=1", "--key", "two words"], "without spaces"),
    ],
)
def test_what_makes_no_claim_is_refused(hosts: Terminal, words: list[str], told: str) -> None:
    assert told in " ".join(hosts.refused("claim", "create", *words, status=2).split())


def test_one_provider_under_two_names_is_refused(hosts: Terminal) -> None:
    host2 = hosts.json("provider", "show", "host2")["uuid"]
    words = ("--allocation", "host2:VCPU=1", "--allocation", f"{host2}:VCPU=1")
    assert "named twice" in hosts.refused("claim", "create", *words, status=2)


def test_labels_and_what_was_asked_for_are_shown(hosts: Terminal) -> None:
    words = ("--query", "resources=VCPU:1", "--label", "job=42", "--label", "who=me", "--consumer", "job")
    hosts.does("claim", "create", *words)
    assert held(hosts, "job")["labels"] == {"job": "42", "who": "me"}
    text = hosts.does("claim", "show", "job")
    assert "job=42, who=me" in text
    assert "resources=VCPU:1" in text


def test_a_key_makes_one_claim_of_two_commands(hosts: Terminal) -> None:
    words = ("claim", "create", "--resources", "VCPU=1", "--key", "job-42")
    first, again = hosts.json(*words), hosts.json(*words)
    assert again["claims"] == first["claims"]
    assert "as answered before" in hosts.does(*words)


def test_an_explanation_that_comes_later_is_named() -> None:
    problem = {
        "code": "no_room",
        "detail": "No tree can.",
        "index": 0,
        "revision": 7,
        "explanation": {"later": "/moorage/v1/explanations/req-1"},
    }
    answer = ("409 Conflict", json.dumps(problem).encode())
    with answering(refusing(lambda _: answer)) as url:
        text = Terminal(url).does("claim", "create", "--query", "resources=VCPU:1", status=3)
    assert text == "Refused at revision 7: there is no place.\n'moorage why --request req-1' says why.\n"


@pytest.mark.parametrize(
    "words", [["create", "--query", "resources=VCPU:1"], ["show", "job"], ["release", "job"]]
)
def test_a_service_of_placement_claims_nothing_and_says_so(words: list[str]) -> None:
    with answering(stub(lambda _: ("404 Not Found", b"{}"))) as url:
        text = Terminal(url).refused("claim", *words)
    assert "finds and claims nothing in one step: it has no native API" in text


# show, move, release


def test_what_a_consumer_holds_is_shown(hosts: Terminal) -> None:
    text = hosts.does("claim", "show", WRITTEN)
    assert [line.split() for line in text.splitlines() if line.startswith(("project", "host1"))] == [
        ["project", "p"],
        ["host1", "VCPU", "4"],
    ]
    assert hosts.does("claim", "show", "nothing", status=3).endswith(" holds nothing.\n")
    several = hosts.json("claim", "show", WRITTEN, "nothing", status=3)
    assert [each["providers"] == {} for each in several] == [False, True]


def test_a_refusal_to_show_is_not_taken_for_nothing_held() -> None:
    failed = json.dumps({"code": "internal_error", "detail": "It failed."}).encode()
    with answering(refusing(lambda _: ("500 Failed", failed))) as url:
        assert "It failed." in Terminal(url).refused("claim", "show", "job")


def test_a_claim_moves_and_changes_its_size(hosts: Terminal) -> None:
    """The consumer's own cores count as free: host1 has eight."""
    before = held(hosts, WRITTEN)
    text = hosts.does("claim", "move", WRITTEN, "--resources", "VCPU=8", "--order", "pack")
    assert re.fullmatch(
        rf"{WRITTEN} now holds 8 VCPU of host1 \(revision \d+, score 1\.0000, best of 1 tree\)\.\n", text
    ), text
    after = held(hosts, WRITTEN)
    assert (after["project_id"], after["user_id"], after["resources"]) == ("p", "u", {"VCPU": 8})
    assert after["generation"] > before["generation"]


def test_another_consumer_takes_over_what_a_move_leaves(hosts: Terminal) -> None:
    text = hosts.does(
        "claim", "move", WRITTEN, "--resources", "VCPU=4", "--order", "spread", "--keep-old-as", "old"
    )
    assert text.splitlines()[1] == f"old ({consumer_uuid('old')}) has what it held."
    assert held(hosts, "old")["resources"] == {"VCPU": 4}
    assert hosts.json("claim", "move", WRITTEN, "--resources", "VCPU=8", status=3)["code"] == "no_room"


def test_what_holds_nothing_is_not_moved(hosts: Terminal) -> None:
    assert consumer_uuid("job") in hosts.refused("claim", "move", "job", "--resources", "VCPU=1")


def test_a_change_meanwhile_stops_a_move(hosts: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = ServiceConnection.post_once

    def later(service: ServiceConnection, path: str, body: Any, **more: Any) -> Any:
        hosts.does("allocation", "set", WRITTEN, "host1:VCPU=1")
        return sent(service, path, body, **more)

    monkeypatch.setattr(ServiceConnection, "post_once", later)
    text = hosts.refused("claim", "move", WRITTEN, "--resources", "VCPU=8")
    assert text.endswith("Another client changed it at the same time. Look at it, then try again.\n")
    assert held(hosts, WRITTEN)["resources"] == {"VCPU": 1}


def test_consumers_are_released_together(hosts: Terminal) -> None:
    hosts.does("claim", "create", "--resources", "VCPU=1", "--consumer", "job")
    text = hosts.does("claim", "release", WRITTEN, "job", "nothing", status=3)
    assert text == (
        f"{WRITTEN} holds nothing any more.\n"
        f"job ({consumer_uuid('job')}) holds nothing any more.\n"
        f"nothing ({consumer_uuid('nothing')}) holds nothing.\n"
    )
    assert hosts.does("claim", "show", WRITTEN, status=3) == f"{WRITTEN} holds nothing.\n"
    hosts.does("claim", "create", "--resources", "VCPU=1", "--consumer", "job")
    assert hosts.json("claim", "release", "job")["released"] == [consumer_uuid("job")]


# Attempts


@contextmanager
def sending(*said: tuple[int, Any]) -> Iterator[tuple[Callable[[], Any], Sent, list[float]]]:
    """A connection to a service that says this, the last answer for good, with what came and the pauses."""
    sent: Sent = []
    pauses: list[float] = []

    def answers(environ: dict[str, Any]) -> tuple[str, bytes]:
        content = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        sent.append((environ.get("HTTP_IDEMPOTENCY_KEY"), json.loads(content)))
        status, body = said[min(len(sent), len(said)) - 1]
        return f"{status} So", json.dumps(body).encode()

    with (
        answering(refusing(answers)) as url,
        ServiceConnection(url, "admin") as service,
    ):
        yield lambda: service.post_once("/x", {"a": 1}, pauses.append), sent, pauses


BUSY = (503, {"code": "unavailable", "retry": {"when": "later", "after_seconds": 5}})
UNKNOWN = (503, {"code": "outcome_unknown", "retry": {"when": "now"}})
FULL = (409, {"code": "no_room"})


def test_a_write_whose_outcome_is_unknown_is_sent_again_with_its_key() -> None:
    with sending(UNKNOWN, BUSY, UNKNOWN, (200, {"done": 1})) as (write, sent, pauses):
        assert write() == {"done": 1}
    assert len({str(each) for each in sent}) == 1
    assert re.fullmatch(f'"{UUID}"', str(sent[0][0]))
    assert pauses == [0.2, 5, 0.8]


@pytest.mark.parametrize(("said", "times"), [(BUSY, 4), (FULL, 1)])
def test_only_what_may_help_is_sent_again(said: tuple[int, Any], times: int) -> None:
    with sending(said) as (write, sent, pauses):
        with pytest.raises(RefusedError) as refused:
            write()
        assert (len(sent), len(pauses)) == (times, times - 1)
    assert refused.value.problem == said[1]


def test_each_write_has_a_key_of_its_own() -> None:
    with sending((200, {})) as (write, sent, _):
        write()
        write()
    assert sent[0][0] != sent[1][0]


def test_a_write_without_an_answer_is_sent_again() -> None:
    pauses: list[float] = []
    with ServiceConnection("http://127.0.0.1:9", "admin") as service, pytest.raises(NoAnswerError):
        service.post_once("/x", {}, pauses.append)
    assert pauses == [0.2, 0.4, 0.8]


def test_an_answer_that_breaks_off_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise requests.exceptions.ChunkedEncodingError("cut")

    with ServiceConnection("http://host", "admin") as service:
        monkeypatch.setattr(service._session, "request", broken)
        with pytest.raises(NoAnswerError, match="broke off: cut"):
            service.get("/x")

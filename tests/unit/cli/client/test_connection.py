"""What can go wrong between here and a service, and what a person is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click
import pytest
import requests

from moorage.cli.client import lookup
from moorage.cli.client.address import URL_KEY
from moorage.cli.client.call import complete_provider
from moorage.cli.client.connection import (
    ATTEMPTS,
    CONCURRENT_UPDATE,
    CONSUMER_CONFLICT,
    RefusedError,
    ServiceConnection,
    retried,
)
from moorage.cli.shared.show import table
from tests.unit.cli.client.conftest import Terminal, answering


def stub(answers: Callable[[dict[str, Any]], tuple[str, bytes]], **headers: str) -> Any:
    """A WSGI application that answers with a status and a body."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, body = answers(environ)
        start_response(
            status,
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                *((name.replace("_", "-"), value) for name, value in headers.items()),
            ],
        )
        return [body]

    return application


def error(**fields: object) -> bytes:
    return json.dumps({"errors": [fields]}).encode()


def said(status: str, body: bytes, **headers: str) -> str:
    """What is told of an answer."""
    with answering(stub(lambda _: (status, body), **headers)) as url:
        return Terminal(url).refused("provider", "list").replace(url, "URL")


def test_nobody_there_is_told_with_what_to_do() -> None:
    text = Terminal("http://127.0.0.1:9").refused("provider", "list")
    assert text == (
        "Nothing answers at http://127.0.0.1:9. Is the service running ('moorage serve')? "
        "--url or MOORAGE_URL names another address.\n"
    )


def test_address_that_cannot_be_asked_is_told() -> None:
    assert ".example failed: " in Terminal(f"http://{'x' * 64}.example").refused("provider", "list")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (requests.ReadTimeout(), "has not answered within 60 seconds"),
        (requests.exceptions.SSLError(), "REQUESTS_CA_BUNDLE=FILE names the authority"),
    ],
)
def test_silence_and_strangers_are_told(fault: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(requests.Session, "request", request)
    assert told in Terminal("https://somewhere").refused("provider", "list")


def test_token_that_may_not_is_told(terminal: Terminal) -> None:
    result = terminal.run("provider", "list", MOORAGE_TOKEN="somebody:project")
    assert result.exit_code == 1
    assert "\nThis token does not allow that: " in result.stderr
    # What lacks may be a role or a project: which one the service does not say.
    assert "a token with another role, or of the project in the request" in result.stderr


@pytest.mark.parametrize(
    ("challenge", "keystone", "moorage"),
    [
        ({}, True, True),
        ({"WWW_Authenticate": "Keystone uri='http://keystone'"}, True, False),
        ({"WWW_Authenticate": 'Token realm="moorage", header="X-Auth-Token"'}, False, True),
    ],
    ids=["nobody says", "keystone", "moorage"],
)
def test_token_that_is_not_accepted_is_told_with_whence_another_one_comes(
    challenge: dict[str, str], keystone: bool, moorage: bool
) -> None:
    text = said("401 Unauthorized", b"<html>", **challenge)
    assert text.startswith("URL does not accept this token.\n--token or MOORAGE_TOKEN names another one. ")
    assert ("openstack token issue" in text) is keystone
    assert ("moorage token create" in text) is moorage


def test_answer_of_something_else_is_told() -> None:
    assert "is not a Placement service: its answer is not JSON" in said("200 OK", b"<html>")
    assert said("404 Not Found", b"<html>") == "404 Not Found\n(URL: is that a Placement service?)\n"
    for body in (b"[]", b'{"errors": []}', b'{"errors": [1]}'):
        assert "is that a Placement service" in said("500 Oops", body)


def test_sentence_that_all_errors_begin_with_is_left_out() -> None:
    detail = "The server could not comply.\n\n No such thing.  "
    assert said("400 Bad Request", error(detail=detail)) == "No such thing.\n"
    assert "a\n\nb\n\nc" in said("400 Bad Request", error(detail="a\n\nb\n\nc"))


def test_conflict_without_a_code_of_its_own_is_for_room() -> None:
    assert "shows what is left" in said("409 Conflict", error(detail="no", code="placement.undefined_code"))


def test_older_service_is_spoken_to_in_its_own_version() -> None:
    seen: list[str] = []

    def answers(environ: dict[str, Any]) -> tuple[str, bytes]:
        version = environ["HTTP_OPENSTACK_API_VERSION"]
        seen.append(version)
        if version != "placement 1.36":
            return "406 Not Acceptable", error(max_version="1.36", min_version="1.0", detail="no")
        if environ["PATH_INFO"].startswith("/usages"):
            return "200 OK", b'{"usages": {"VCPU": 3}}'
        return "200 OK", b'{"allocations": {}}'

    with answering(stub(answers)) as url:
        terminal = Terminal(url)
        assert "VCPU      3" in terminal.does("usage", "--project", "p")
        assert seen == ["placement 1.39", "placement 1.36"]
        with ServiceConnection(url, "x") as service:
            service.get("/usages")
            service.get("/usages")
        assert seen[2:] == ["placement 1.39", "placement 1.36", "placement 1.36"]


@pytest.mark.parametrize("newest", ["", "1.39", "2.0", "1.x"])
def test_refusal_of_the_version_that_names_no_other_is_a_refusal(newest: str) -> None:
    assert said("406 Not Acceptable", error(max_version=newest, detail="no")) == "no\n"


def test_service_that_is_too_old_is_told() -> None:
    text = said("406 Not Acceptable", error(max_version="1.10", detail="no"))
    assert text == "URL supports Placement up to 1.10; this command needs 1.28.\n"


def refusal(detail: str = "", code: str = CONCURRENT_UPDATE) -> RefusedError:
    return RefusedError(409, code, detail)


def test_change_is_tried_again_until_it_is_no_race_that_was_lost() -> None:
    waits: list[float] = []
    outcomes: list[Any] = [refusal(), refusal(), "done"]

    def change() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert retried(change, waits.append) == "done"
    assert waits == [0.05, 0.1]
    for other in (refusal(CONSUMER_CONFLICT), refusal(code="placement.inventory.inuse")):
        outcomes[:] = [other]
        with pytest.raises(RefusedError):
            retried(change, waits.append)
    outcomes[:] = [refusal() for _ in range(ATTEMPTS)]
    with pytest.raises(RefusedError):
        retried(change, waits.append)
    assert outcomes == []


# Names.


def test_uuid_that_is_nobodys_is_looked_for_as_a_name(terminal: Terminal) -> None:
    uuid = "aaaa0000-0000-4000-8000-000000000001"
    assert f"There is no resource provider '{uuid}'." in terminal.refused("provider", "show", uuid)
    terminal.does("provider", "create", uuid)
    assert terminal.json("provider", "show", uuid)["name"] == uuid


def test_refusal_of_a_uuid_for_another_reason_is_passed_on() -> None:
    with (
        answering(stub(lambda _: ("500 Oops", error(detail="broken")))) as url,
        ServiceConnection(url, "x") as service,
    ):
        with pytest.raises(RefusedError, match="broken"):
            lookup.provider(service, "aaaa0000-0000-4000-8000-000000000001")
        assert lookup.provider_names(service, ["a"]) == {"a": "a"}


def test_empty_name_is_nobodys(terminal: Terminal) -> None:
    assert "There is no resource provider ''." in terminal.refused("provider", "show", "")


def test_refusal_that_is_not_for_a_name_is_passed_on(connection: ServiceConnection) -> None:
    for status, names in ((400, ["VCPU"]), (409, ["NOT_THERE"])):
        with pytest.raises(RefusedError, match="mine"), lookup.names_explained(connection, names, names[:0]):
            raise RefusedError(status, "", "mine")


# Completion, and cells.


def completed(incomplete: str, url: str | None) -> list[str]:
    context = click.Context(click.Command("x"))
    context.meta[URL_KEY] = url
    return [item.value for item in complete_provider(context, click.Argument(["x"]), incomplete)]


def test_names_of_providers_are_completed(host: Terminal) -> None:
    assert completed("h", host.url) == ["host1"]
    assert completed("", host.url) == ["gpu1", "host1"]
    # Nothing begins so, but something contains it.
    assert completed("ost", host.url) == ["host1"]


def test_completion_is_silent_if_nothing_answers() -> None:
    assert completed("h", "http://127.0.0.1:9") == []
    with answering(stub(lambda _: ("200 OK", b"[]"))) as url:
        assert completed("h", url) == []


def test_brackets_in_a_cell_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    table(("name",), [("[bold]x",), (None,)])
    assert "[bold]x" in capsys.readouterr().out

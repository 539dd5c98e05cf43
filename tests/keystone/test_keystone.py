"""A real Keystone vouches for tokens, and the reference behind the same one answers the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from moorage.wiring.config_files import CONFIG_FILE_VARIABLE
from moorage.wiring.parts import build_application
from moorage.wiring.settings import settings_of_process
from tests.journeys.client import Client, running_service
from tests.journeys.test_banner import BINARIES, printed, run_all
from tests.journeys.test_changes_listen import PATH, Follower
from tests.keystone.identity_service import PASSWORD, Keystone, running_keystone
from tests.peer.exchange import Answer, Request, WsgiApplication, call
from tests.peer.peers import Reference
from tests.servers.ports import free_port

pytestmark = [
    pytest.mark.journey,
    pytest.mark.slow,
    # The clients of applications that a test is through with close their connections in their own time.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

SYSTEM = {"system": {"all": True}}
DOMAIN = {"domain": {"id": "default"}}

Configure = Callable[..., Path]
Serve = Callable[[Path], WsgiApplication]


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with running_keystone(tmp_path_factory.mktemp("keystone")) as running:
        yield running


@pytest.fixture
def configure(keystone: Keystone, tmp_path: Path) -> Configure:
    """Call it with options of [keystone_authtoken], for a placement.conf of an operator."""

    def configure(**options: str) -> Path:
        path = tmp_path / f"{uuid4()}.conf"
        path.write_text(
            f"[placement_database]\nconnection = sqlite:///{tmp_path}/{uuid4()}.sqlite\n"
            "sync_on_startup = true\n[oslo_policy]\npolicy_dirs = none.d\n" + keystone.section(**options)
        )
        return path

    return configure


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Call it with a configuration file for an application in this process."""
    # What the environment says of Keystone is not meant for it.
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    return lambda path: build_application(settings_of_process({CONFIG_FILE_VARIABLE: str(path)}))


def ask(application: WsgiApplication, path: str, token: str | None, query: str = "", **more: str) -> Answer:
    return call(application, request(path, token, query, **more))


def request(path: str, token: str | None, query: str = "", **more: str) -> Request:
    headers = {"OpenStack-API-Version": "placement 1.39", "Accept": "application/json"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    return Request("GET", path, query, headers if token is None else headers | {"X-Auth-Token": token})


@pytest.mark.parametrize(
    ("name", "status"),
    [("admin", 200), ("service", 200), ("manager", 403), ("member", 403), ("reader", 403), ("auditor", 403)],
)
def test_roles_of_a_token_are_judged(
    keystone: Keystone, configure: Configure, serve: Serve, name: str, status: int
) -> None:
    application = serve(configure())
    token = keystone.token(f"{name}-of-mine", "mine")
    assert ask(application, "/resource_providers", token).status == status
    # From memory, too.
    assert ask(application, "/resource_providers", token).status == status


def test_a_reader_sees_the_usages_of_its_own_project_only(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    application = serve(configure())
    token = keystone.token("member-of-mine", "mine")
    for project, status in (("mine", 200), ("another", 403)):
        query = f"project_id={keystone.projects[project]}"
        assert ask(application, "/usages", token, query).status == status


def test_a_member_helps_itself_for_its_own_project(
    keystone: Keystone, configure: Configure, tmp_path: Path
) -> None:
    """As Keystone issues the token: the role member, which implies reader."""
    path = configure()
    variables = {"OS_PLACEMENT_CONFIG_DIR": str(tmp_path), "OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true"}
    path.rename(tmp_path / "placement.conf")
    url = f"sqlite:///{tmp_path}/served.sqlite"
    service = {
        "X-Auth-Token": keystone.token("service-of-mine", "mine"),
        "OpenStack-API-Version": "placement 1.39",
    }
    with (
        running_service(url, tmp_path, variables=variables) as port,
        Client(port, dict(service)) as client,
    ):
        client.add_provider(str(uuid4()), "host", {"VCPU": {"total": 8}})
        client.headers = {"X-Auth-Token": keystone.token("member-of-mine", "mine")}
        ask = {"query": "resources=VCPU:1"}
        told = client.must("POST", "/moorage/v1/claims", {"claims": [{"ask": ask}]}).json
        consumer = told["claims"][0]["consumer"]
        shown = client.get(f"/moorage/v1/claims/{consumer}")
        assert shown["project_id"] == keystone.projects["mine"]
        another = {"ask": ask, "project_id": keystone.projects["another"]}
        assert client.request("POST", "/moorage/v1/claims", {"claims": [another]}).status == 403
        client.headers = {**service, "X-Auth-Token": keystone.token("reader-of-mine", "mine")}
        assert client.request("GET", f"/moorage/v1/claims/{consumer}").status == 403
        client.headers = dict(service)
        client.must(
            "PUT",
            f"/allocations/{consumer}",
            {
                "allocations": client.get(f"/allocations/{consumer}")["allocations"],
                "project_id": keystone.projects["another"],
                "user_id": "other",
                "consumer_generation": 1,
                "consumer_type": "JOB",
            },
        )
        client.headers = {"X-Auth-Token": keystone.token("member-of-mine", "mine")}
        assert client.request("GET", f"/moorage/v1/claims/{consumer}").status == 404
        assert client.request("DELETE", f"/moorage/v1/claims/{consumer}").status == 404


def test_what_is_not_a_project_s_token_is_forbidden(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    application = serve(configure())
    for name, scope in (("system-admin", SYSTEM), ("domain-admin", DOMAIN)):
        answer = ask(application, "/traits", keystone.token(name, None, scope=scope))
        assert answer.status == 403
        assert "Policy does not allow" not in answer.detail
    assert ask(application, "/traits", keystone.token("nobody", None)).status == 403


def test_headers_of_a_client_that_say_who_it_is_are_not_believed(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    application = serve(configure())
    claims = {"X_Roles": "admin", "X_User_Id": "admin", "X_Identity_Status": "Confirmed"}
    assert ask(application, "/traits", keystone.token("reader-of-mine", "mine"), **claims).status == 403
    assert ask(application, "/traits", None, **claims).status == 401
    assert ask(application, "/traits", "nonsense", **claims).status == 401


def test_a_revoked_token_is_worth_nothing_at_once_where_nothing_is_cached(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    application = serve(configure(token_cache_time="-1"))
    token = keystone.token("admin-of-mine", "mine")
    assert ask(application, "/traits", token).status == 200
    keystone.revoke(token)
    assert ask(application, "/traits", token).status == 401


def test_an_application_credential_may_ask_for_what_its_rules_allow_only(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    token = keystone.restricted_token("admin-of-mine", "mine", "placement", "GET", "/traits")
    application = serve(configure(service_type="placement"))
    for _ in range(2):
        assert ask(application, "/traits", token).status == 200
        assert ask(application, "/resource_providers", token).status == 401


def test_a_service_that_shows_its_own_token_beside_the_user_s_is_known(
    keystone: Keystone, configure: Configure, serve: Serve, tmp_path: Path
) -> None:
    path = configure(service_token_roles="service", service_token_roles_required="true")
    (tmp_path / "policy.yaml").write_text('"placement:traits:list": "service_roles:service"\n')
    application = serve(path)
    user = keystone.token("reader-of-mine", "mine")
    service = keystone.token("service-of-mine", "mine")
    assert ask(application, "/traits", user).status == 403
    assert ask(application, "/traits", user, X_Service_Token=service).status == 200
    # What was true together is not true of the user alone.
    assert ask(application, "/traits", user).status == 403
    assert ask(application, "/traits", user, X_Service_Token=user).status == 401


def test_refusals_are_those_of_the_reference(
    keystone: Keystone, configure: Configure, serve: Serve, tmp_path: Path
) -> None:
    reference = Reference(tmp_path / "reference.sqlite", configure())
    try:
        application = serve(configure())
        tokens = [
            *(None, "", "nonsense", "x" * 5000),
            keystone.token("nobody", None),
            keystone.token("reader-of-mine", "mine"),
            keystone.token("admin-of-mine", "mine"),
            keystone.token("service-of-mine", "mine"),
            keystone.token("system-admin", None, scope=SYSTEM),
            keystone.token("domain-admin", None, scope=DOMAIN),
        ]
        for token in tokens:
            for path in ("/", "/resource_providers", "/nothing", "/usages"):
                for version in ("placement 1.39", "placement 9.9"):
                    asked = request(path, token, OpenStack_API_Version=version)
                    ours, theirs = call(application, asked), reference.send(asked)
                    assert told(ours) == told(theirs), str(asked)
    finally:
        reference.close()


def told(answer: Answer) -> tuple[Any, ...]:
    """What has to be alike."""
    body = answer.json
    if isinstance(body, dict):
        for error in body.get("errors", []):
            error.pop("request_id")
    return answer.status, answer.headers.get("www-authenticate"), answer.headers.get("content-type"), body


def test_a_decision_that_is_left_to_the_service_ends_as_401_all_the_same(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    application = serve(configure(delay_auth_decision="true"))
    answer = ask(application, "/traits", None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")
    assert answer.json["title"] == "Unauthorized"
    assert ask(application, "/traits", keystone.token("admin-of-mine", "mine")).status == 200


def test_without_keystone_it_is_503_and_the_root_still_answers(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    application = serve(configure(auth_url=nobody, http_request_max_retries="0"))
    answer = ask(application, "/traits", keystone.token("admin-of-mine", "mine"))
    assert answer.status == 503
    assert "The identity service cannot be reached." in answer.detail
    assert PASSWORD not in answer.body.decode()
    assert ask(application, "/", None).status == 200


# The middleware's cache looks for it, and finds it here, since Keystone's own libraries bring it.
@pytest.mark.filterwarnings(r"ignore:\s*Eventlet is deprecated")
def test_a_cache_that_is_away_costs_time_and_nothing_else(
    keystone: Keystone, configure: Configure, serve: Serve
) -> None:
    application = serve(configure(memcached_servers=f"127.0.0.1:{free_port()}"))
    assert ask(application, "/traits", keystone.token("admin-of-mine", "mine")).status == 200
    assert ask(application, "/traits", "nonsense").status == 401


def test_passwords_may_come_from_the_environment(
    keystone: Keystone, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configure(password="wrong")
    given = {
        CONFIG_FILE_VARIABLE: str(path),
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__USERNAME": "admin-of-mine",
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__PROJECT_NAME": "mine",
        "OS_PLACEMENT_KEYSTONE_AUTHTOKEN__PASSWORD": PASSWORD,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    application = build_application(settings_of_process())
    assert ask(application, "/traits", keystone.token("admin-of-mine", "mine")).status == 200


def test_a_running_service_lets_in_who_has_a_token(
    keystone: Keystone, configure: Configure, tmp_path: Path
) -> None:
    path, listen = configure(token_cache_time="-1"), free_port()
    variables = {
        "OS_PLACEMENT_CONFIG_DIR": str(tmp_path),
        "OS_PLACEMENT_MOORAGE__CHANGES_LISTEN": f"127.0.0.1:{listen}",
    }
    path.rename(tmp_path / "placement.conf")
    url = f"sqlite:///{tmp_path}/served.sqlite"
    token = keystone.token("service-of-mine", "mine")
    with (
        running_service(
            url, tmp_path, workers=2, variables=variables, program="tests.journeys.vigilant"
        ) as port,
        Client(port, {"X-Auth-Token": token}) as client,
    ):
        uuid = str(uuid4())
        client.must("POST", "/resource_providers", {"uuid": uuid, "name": "host"})
        assert client.get(f"/resource_providers/{uuid}")["name"] == "host"
        client.headers = {}
        assert client.request("GET", "/").status == 200
        answer = client.request("GET", "/resource_providers")
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["title"] == "Unauthorized"
        client.headers = {"X-Auth-Token": token, "OpenStack-API-Version": "placement 1.39"}
        assert_changes_are_for_those_who_may_see_them(keystone, client, listen, tmp_path)


def assert_changes_are_for_those_who_may_see_them(
    keystone: Keystone, client: Client, listen: int, folder: Path
) -> None:
    """At ``changes_listen``: token and policy count when a stream begins, and while it goes on."""
    mine, another = keystone.projects["mine"], keystone.projects["another"]
    reader_token, revoked = (keystone.token(f"{name}-of-mine", "mine") for name in ("reader", "admin"))
    with Client(listen, {}) as watcher:
        for token, query, status in (
            ("nonsense", "", 401),
            (reader_token, "", 403),
            (reader_token, f"&project_id={another}", 403),
            (keystone.token("auditor-of-mine", "mine"), f"&project_id={mine}", 403),
            (keystone.token("nobody", None), "", 403),
        ):
            watcher.headers = {"X-Auth-Token": token}
            assert watcher.request("GET", f"{PATH}?after=now{query}").status == status, (token, query)
    with ExitStack() as followers:

        def follow(token: str, query: str = "after=now") -> Follower:
            return followers.enter_context(closing(Follower(listen, query, {"X-Auth-Token": token})))

        def follow_briefly() -> Follower:
            """With a token that expires soon. On a slow machine it may have expired before it is used."""
            for seconds in (3, 10):
                with suppress(AssertionError):
                    return follow(keystone.brief_token("service-of-mine", "mine", seconds))
            return follow(keystone.brief_token("service-of-mine", "mine", 60))

        whole, dismissed, brief = follow(client.headers["X-Auth-Token"]), follow(revoked), follow_briefly()
        reader = follow(reader_token, f"after=now&project_id={mine}")
        for each in (whole, dismissed, brief, reader):
            assert "bookmark" in each.next()
        provider, consumers = str(uuid4()), {project: str(uuid4()) for project in (another, mine)}
        client.add_provider(provider, "watched", {"VCPU": {"total": 8}})
        for project, consumer in consumers.items():
            body = {
                "allocations": {provider: {"resources": {"VCPU": 1}}},
                "project_id": project,
                "user_id": "user",
                "consumer_generation": None,
                "consumer_type": "JOB",
            }
            client.must("PUT", f"/allocations/{consumer}", body)
        seen = [whole.next() for _ in range(4)]
        assert all(provider in change["providers"] for change in seen)
        change = next(line for line in reader.lines() if "bookmark" not in line)
        assert change.keys() == {"revision", "kind", "at", "path", "by", "consumers"}
        assert change["revision"] == seen[-1]["revision"]
        assert change["consumers"].keys() == {consumers[mine]}
        assert change["consumers"][consumers[mine]]["resources"] == {"VCPU": [None, 1]}
        keystone.revoke(revoked)
        for each in (dismissed, brief):
            assert each.end() == {"end": "token_expired"}
        # The policy shows the reader more from now on.
        (folder / "policy.yaml").write_text(
            '"moorage:changes:show_providers": "role:reader or role:service"\n'
        )
        assert reader.end() == {"end": "again"}
        further = follow(reader_token, f"after={seen[-2]['revision']}&project_id={mine}")
        assert further.next() == seen[-1]
        client.must("PUT", "/traits/CUSTOM_SEEN")
        last = next(line for line in whole.lines() if "bookmark" not in line)
        assert last["traits"] == {"CUSTOM_SEEN": [False, True]}


def test_commands_that_a_service_behind_keystone_prints_work_as_printed(
    keystone: Keystone, configure: Configure, tmp_path: Path
) -> None:
    served, elsewhere = tmp_path / "served", tmp_path / "elsewhere"
    served.mkdir()
    elsewhere.mkdir()
    variables = {
        "OS_AUTH_URL": keystone.url,
        "OS_USERNAME": "admin-of-mine",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "mine",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
    }
    with printed(served, ["--demo", "--config-file", str(configure())], {}) as commands:
        assert commands[0].startswith("TOKEN=$(openstack token issue")
        result = run_all(commands, elsewhere, variables)
    assert result.returncode == 0, f"{commands}\n{result.stdout}\n{result.stderr}"
    assert "HTTP/1.1 204" in result.stdout

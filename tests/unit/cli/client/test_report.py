"""``moorage report`` and ``moorage findings``, and the sources of reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from click.testing import CliRunner

from moorage.cli.client.sources import document as documents
from moorage.cli.client.sources import host as of_host
from moorage.cli.client.sources import nova as of_nova
from moorage.cli.client.sources.document import ReportDocument, UnreadableReportError, bodies, read
from moorage.cli.client.sources.nova import NovaError
from moorage.cli.client.sources.nova_session import asking
from moorage.cli.main import main
from moorage.cli.shared.names import consumer_uuid
from tests.unit.cli.client.conftest import Terminal, answering

RECORDED = json.loads((Path(__file__).parent / "nova" / "answers.json").read_text())

LEAK = "cccc0000-0000-4000-8000-000000000001"
JOB = consumer_uuid("job-7")
OWNED = {"project_id": "p1", "user_id": "u1"}


@pytest.fixture
def told(tmp_path: Path) -> Callable[[Any], str]:
    """Writes a report into a file; returns its path."""

    def write(content: Any) -> str:
        path = tmp_path / "report.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write


def report(consumers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"covers": {"trees": ["host1"]}, "complete": True, "consumers": dict(consumers), **more}


def leaking(host: Terminal, told: Callable[[Any], str]) -> str:
    """A consumer that no report has; returns the id of the finding."""
    host.does("allocation", "set", LEAK, "host1:VCPU=4", "--project", "p", "--user", "u")
    found = host.json("report", "apply", "lab", told(report({})), "--accept-shrink")
    (finding,) = found["findings"]
    return str(finding["id"])


def test_a_file_is_reported_and_its_findings_are_shown(host: Terminal, told: Callable[[Any], str]) -> None:
    file = told(report({"job-7": {"host1": {"VCPU": 2}}, LEAK: None}, owners={"job-7": OWNED}))
    host.does("allocation", "set", LEAK, "gpu1:PGPU=1", "--project", "p", "--user", "u")
    text = host.does("report", "apply", "lab", file)
    assert text.startswith("lab reported 2 consumers (revision ")
    assert "missing" in text
    assert JOB in text
    assert LEAK not in text
    assert "VCPU=2" in host.does("findings", "list", "--kind", "missing")
    assert host.does("findings", "list", "--consumer", LEAK) == "There are no findings.\n"
    found = host.json("findings", "list", "--limit", "1")
    assert found["total"] == 1
    shown = host.does("findings", "show", found["findings"][0]["id"])
    assert "VCPU=2 of host1" in shown


def test_json_lines_from_standard_input_add_up(host: Terminal) -> None:
    lines = [
        {"covers": {"trees": ["gpu1"]}},
        {"consumer": "job-7", "provider": "host1", "resources": {"VCPU": 2}, **OWNED},
        {"consumer": "job-7", "provider": "gpu1", "resources": {"PGPU": 1}},
        {"consumer": "job-8", "provider": "host1"},
    ]
    text = "\n".join(map(json.dumps, lines))
    done = CliRunner().invoke(main, ["report", "apply", "lab", "-", "--json", "--url", host.url], input=text)
    assert done.exit_code == 0, done.output
    findings = {each["consumer"]: each for each in json.loads(done.stdout)["findings"]}
    reported = findings[JOB]["reported"].values()
    assert sorted(name for each in reported for name in each) == ["PGPU", "VCPU"]
    assert findings[consumer_uuid("job-8")]["reported"] is None


def test_findings_are_healed_ignored_and_reopened(host: Terminal, told: Callable[[Any], str]) -> None:
    id_ = leaking(host, told)
    assert host.does("findings", "ignore", id_) == f"{id_} is ignored.\n"
    assert host.json("findings", "show", id_)["state"] == "ignored"
    assert host.does("findings", "reopen", id_) == f"{id_} is open again.\n"
    assert host.does("findings", "quarantine", id_).startswith(f"{id_} is quarantined (revision ")
    assert host.json("findings", "show", id_)["state"] == "quarantined"
    assert host.does("findings", "heal", id_).startswith(f"{id_} is healed (revision ")
    host.does("claim", "show", LEAK, status=3)
    assert "There is no finding" in host.refused("findings", "heal", id_)


def test_sources_are_listed_and_forgotten(host: Terminal, told: Callable[[Any], str]) -> None:
    leaking(host, told)
    assert "lab" in host.does("report", "list")
    assert host.does("report", "forget", "lab") == "lab is forgotten.\n"
    assert host.json("report", "list")["sources"] == []
    assert "There is no source lab" in host.refused("report", "forget", "lab")


def test_the_reason_of_a_healed_claim_stands_among_the_changes(
    host: Terminal, told: Callable[[Any], str]
) -> None:
    id_ = leaking(host, told)
    host.does("findings", "heal", id_)
    text = host.does("changes", "--kinds", "allocations.heal")
    assert f"because of finding {id_} of lab: leaked, release" in text


def test_a_suspect_report_says_so(host: Terminal, told: Callable[[Any], str]) -> None:
    host.does("allocation", "set", LEAK, "host1:VCPU=4", "--project", "p", "--user", "u")
    text = host.does("report", "apply", "lab", told(report({})))
    assert "Suspect: far fewer consumers than before on host1" in text
    assert "--accept-shrink" in text


def test_a_dry_run_prints_what_would_be_reported_and_sends_nothing(
    host: Terminal, told: Callable[[Any], str]
) -> None:
    document = report({"job-7": {"host1": {"VCPU": 2}}, "job-8": None}, owners={"job-7": OWNED})
    options = ("--dry-run", "--incomplete", "--consumer-type", "JOB")
    printed = yaml.safe_load(host.does("report", "apply", "lab", told(document), *options))
    assert printed == {
        **document,
        "complete": False,
        "covers": {"trees": ["host1"], "consumer_types": ["JOB"]},
    }
    assert host.json("report", "apply", "lab", told(document), "--dry-run") == document
    assert host.json("findings", "list")["findings"] == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[1, 2]", "must be a mapping"),
        ("a: [", "neither YAML nor JSON lines"),
        ({"cover": {}}, "no key 'cover' here"),
        ({"covers": 1}, "covers must have trees"),
        ({"covers": {"trees": "host1"}}, "covers.trees must be a list"),
        ({"covers": {"trees": [], "consumer_types": "A"}}, "covers.consumer_types must be a list"),
        ({"complete": 1}, "complete must be true or false"),
        ({"consumers": []}, "consumers must be a mapping"),
        ({"consumers": {"c": 1}}, "consumers.c must be a mapping or null"),
        ({"consumers": {"c": {"p": {"VCPU": 0}}}}, "consumers.c must have amounts"),
        ({"owners": []}, "owners must be a mapping"),
        ({"owners": {"c": 1}}, "owners.c must be a mapping"),
        ('{"consumer": 1}', "line 1: consumer must be a text"),
        ('{"complete": true}\n\n{"consumer": "c", "provider": 1}', "line 3: provider must be a text"),
        ('{"consumer": "c", "resources": {"VCPU": 1}}', "line 1: resources need a provider"),
        ('{"consumer": "c", "amount": 1}', "line 1: there is no key 'amount'"),
        ('{"complete": true}\n5', "neither YAML nor JSON lines"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_its_fault(content: Any, fault: str) -> None:
    with pytest.raises(UnreadableReportError, match=fault.replace(".", r"\.")) as caught:
        read(content if isinstance(content, str) else yaml.safe_dump(content), "file")
    assert str(caught.value).startswith("file: ")


def test_a_report_that_covers_nothing_or_names_what_is_not_there_is_refused(
    host: Terminal, told: Callable[[Any], str]
) -> None:
    assert "cannot be read" in host.refused("report", "apply", "lab", "/does/not/exist")
    assert "covers no tree" in host.refused("report", "apply", "lab", told({"consumers": {}}))
    assert "no resource provider 'host9'" in host.refused(
        "report", "apply", "lab", told({**report({}), "covers": {"trees": ["host9"]}})
    )


def test_a_large_report_is_sent_in_parts_of_whole_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_TREES", 2)
    monkeypatch.setattr(documents, "MOST_AMOUNTS", 3)
    document = ReportDocument(trees=["a", "b", "c", "d"])
    document.add("everywhere", None, None)
    for provider in "abc":
        document.add("x", provider, {"VCPU": 1})
    document.add("y", "a", {"VCPU": 1})
    document.add("y", "a", {"DISK_GB": 1})
    document.add("z", "d", {"VCPU": 1})
    document.add("z", "d1", None)
    document.owners["x"] = {**OWNED}
    parts = list(bodies(document, lambda name: (name, name[0]), str, accept_shrink=False))
    assert [part["covers"]["trees"] for part in parts] == [["a"], ["b", "c"], ["d"]]
    assert parts[0]["consumers"] == {
        "everywhere": None,
        "x": {"a": {"VCPU": 1}},
        "y": {"a": {"VCPU": 1, "DISK_GB": 1}},
    }
    assert parts[1]["consumers"]["x"] == {"b": {"VCPU": 1}, "c": {"VCPU": 1}}
    assert parts[2]["consumers"]["z"] is None
    assert [sorted(part["owners"]) for part in parts] == [["x"], ["x"], []]


# Nova


class Nova:
    """Answers from recorded lists, two items to a page. ``asked`` has what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.lists = {
            "/servers/detail": ("servers", "id"),
            "/os-migrations": ("migrations", "uuid"),
            "/os-hypervisors/detail": ("hypervisors", "id"),
        }
        self.recorded = json.loads(json.dumps(RECORDED))

    def __call__(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append((path, query))
        key, id_of = self.lists[path]
        items = self.recorded[key]
        begin = 0
        if "marker" in query:
            begin = 1 + [str(item[id_of]) for item in items].index(query["marker"])
        links = [{"rel": "next", "href": "x"}] if items[begin + 2 :] else []
        return {key: items[begin : begin + 2], f"{key}_links": links}


NODE1, NODE2 = (each["id"] for each in RECORDED["hypervisors"])


def server(number: int) -> str:
    return str(RECORDED["servers"][number - 1]["id"])


def test_servers_and_migrations_of_nova_become_a_report() -> None:
    nova = Nova()
    document, notes = of_nova.report(nova, amounts=True)
    assert (document.trees, document.complete, notes) == ([NODE1, NODE2], True, [])
    assert document.consumer_types == ["INSTANCE", "MIGRATION", "unknown"]
    assert document.consumers == {
        # Root disk, ephemeral disk, and half a GiB of swap that takes a whole one.
        server(1): {NODE1: {"VCPU": 4, "MEMORY_MB": 8192, "DISK_GB": 31}},
        # It boots from a volume.
        server(2): {NODE1: {"VCPU": 2, "MEMORY_MB": 1024}},
        server(3): {NODE2: {"MEMORY_MB": 1024, "DISK_GB": 5, "CUSTOM_BAREMETAL": 1}},
        # Processors of its own, a device, and a flavor that is not shown: the amounts are not known.
        server(4): {NODE2: None},
        server(5): {NODE2: None},
        server(9): {NODE1: None},
        # It is being moved.
        server(6): {NODE2: None},
        RECORDED["migrations"][0]["uuid"]: {NODE1: None},
    }
    assert document.owners[server(1)] == {"project_id": "p1", "user_id": "u1", "consumer_type": "INSTANCE"}
    assert {query["all_tenants"] for path, query in nova.asked if path == "/servers/detail"} == {"true"}
    assert all(not any(each.values()) for each in of_nova.report(Nova(), amounts=False)[0].consumers.values())


def test_servers_of_a_cell_that_does_not_answer_make_the_report_incomplete() -> None:
    nova = Nova()
    nova.recorded["servers"][0] = {"id": server(1), "status": "UNKNOWN", "tenant_id": "p1"}
    document, notes = of_nova.report(nova, amounts=True)
    assert not document.complete
    assert "cannot say where 1 servers are" in notes[0]
    assert server(1) not in document.consumers


def test_a_hypervisor_that_comes_or_goes_meanwhile_is_not_covered() -> None:
    nova = Nova()

    def ask(path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        if path == "/os-migrations":
            del nova.recorded["hypervisors"][1]
        return nova(path, query)

    document, _ = of_nova.report(ask, amounts=True)
    assert document.trees == [NODE1]
    assert server(3) not in document.consumers


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({}, "is no list of hypervisors"),
        ({"hypervisors": 5}, "is no list of hypervisors"),
        ({"hypervisors": [], "hypervisors_links": [{"rel": "next"}]}, "is no list of hypervisors"),
        (
            {
                "hypervisors": [{"id": "1", "hypervisor_hostname": "n"}],
                "hypervisors_links": [{"rel": "next"}],
            },
            "does not end",
        ),
    ],
)
def test_a_list_that_breaks_off_is_no_report(answer: dict[str, Any], fault: str) -> None:
    with pytest.raises(NovaError, match=fault):
        of_nova.report(lambda _path, _query: answer, amounts=True)


def nova_application(nova: Nova, seen: list[str]) -> Any:
    """Keystone and Nova in one, as far as a session of keystoneauth1 asks them."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        base = f"http://{environ['HTTP_HOST']}"
        seen.append(environ.get("HTTP_OPENSTACK_API_VERSION", ""))
        headers = [("Content-Type", "application/json")]
        status = "200 OK"
        body: dict[str, Any] = {}
        if path == "/v3/auth/tokens":
            status, headers = "201 Created", [*headers, ("X-Subject-Token", "t")]
            endpoint = {"interface": "public", "region": "r", "region_id": "r", "url": f"{base}/v2.1"}
            catalog: list[dict[str, Any]] = [{"type": "compute", "name": "nova", "endpoints": [endpoint]}]
            body = {
                "token": {
                    "expires_at": "2999-01-01T00:00:00.000000Z",
                    "issued_at": "2020-01-01T00:00:00.000000Z",
                    "methods": ["password"],
                    "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
                    "project": {"id": "p", "name": "p", "domain": {"id": "d", "name": "d"}},
                    "roles": [],
                    "catalog": catalog,
                }
            }
        elif path in ("/v3", "/v3/"):
            links = [{"rel": "self", "href": f"{base}/v3/"}]
            body = {"version": {"id": "v3.14", "status": "stable", "links": links}}
        elif path in ("/v2.1", "/v2.1/"):
            links = [{"rel": "self", "href": f"{base}/v2.1/"}]
            told = {
                "id": "v2.1",
                "status": "CURRENT",
                "version": "2.90",
                "min_version": "2.1",
                "links": links,
            }
            body = {"version": told}
        elif path.startswith("/v2.1/"):
            query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
            body = nova(path.removeprefix("/v2.1"), query)
        else:
            status = "404 Not Found"
        start_response(status, headers)
        return [json.dumps(body).encode()]

    return application


@pytest.fixture
def cloud() -> Iterator[tuple[dict[str, str], list[str]]]:
    """Variables that lead to a stub of Keystone and Nova, and the versions that it was asked with."""
    seen: list[str] = []
    with answering(nova_application(Nova(), seen)) as url:
        yield (
            {
                "OS_AUTH_URL": f"{url}/v3",
                "OS_USERNAME": "u",
                "OS_PASSWORD": "s",
                "OS_PROJECT_NAME": "p",
                "OS_USER_DOMAIN_NAME": "d",
                "OS_PROJECT_DOMAIN_NAME": "d",
            },
            seen,
        )


def test_nova_is_asked_over_http_and_its_report_is_sent(
    host: Terminal, cloud: tuple[dict[str, str], list[str]]
) -> None:
    variables, seen = cloud
    done = host.run("report", "nova", "--dry-run", "--json", **variables)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["covers"]["trees"] == [NODE1, NODE2]
    assert "compute 2.69" in seen
    assert "no resource provider" in host.run("report", "nova", **variables).stderr
    for name, uuid in (("node1", NODE1), ("node2", NODE2)):
        host.does("provider", "create", name, "--uuid", uuid)
        host.does("inventory", "set", name, "VCPU=64", "MEMORY_MB=262144", "DISK_GB=1000")
    done = host.run("report", "nova", "--json", **variables)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["source"], found["consumers"], found["complete"]) == ("nova", 8, True)
    assert {each["kind"] for each in found["findings"]} == {"missing"}


def test_without_variables_nova_is_not_found(host: Terminal) -> None:
    with pytest.raises(NovaError, match="Set OS_AUTH_URL"):
        asking({})
    dead = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(NovaError, match="cannot be asked for"):
        asking(dead)("/servers/detail", {})


# A host


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """Processes, of which two name claims."""
    for number, variables in {
        "1": b"PATH=/bin\0",
        "2": f"A=b\0MOORAGE_CLAIM={LEAK}\0".encode(),
        "3": f"MOORAGE_CLAIM={JOB},{LEAK},nonsense\0".encode(),
        "self": f"MOORAGE_CLAIM={LEAK}".encode(),
    }.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "environ").write_bytes(variables)
    (tmp_path / "4").mkdir()
    return tmp_path


def test_processes_are_reported_by_the_claims_that_they_name(processes: Path) -> None:
    document, notes = of_host.report("host1", processes, ())
    assert (document.trees, document.complete, notes) == (["host1"], True, [])
    assert document.consumers == {LEAK: {"host1": None}, JOB: {"host1": None}}


def test_processes_that_hide_their_variables_make_the_report_incomplete(
    processes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path) -> bytes:
        raise PermissionError(self)

    monkeypatch.setattr(Path, "read_bytes", denied)
    document, notes = of_host.report("host1", processes, ())
    assert (document.complete, document.consumers) == (False, {})
    assert "processes do not show their variables" in notes[0]


class LibvirtError(Exception):
    """What libvirt raises."""


def libvirt(domains: list[str] | None) -> Any:
    """A stand-in for libvirt's library; None: it lists none."""

    def listed(flags: int) -> list[Any]:
        assert flags == 1
        if domains is None:
            raise LibvirtError("away")
        return [SimpleNamespace(UUIDString=lambda uuid=uuid: uuid) for uuid in domains]

    connection = SimpleNamespace(listAllDomains=listed, close=lambda: None)
    return SimpleNamespace(
        VIR_CONNECT_LIST_DOMAINS_ACTIVE=1,
        libvirtError=LibvirtError,
        openReadOnly=lambda uri: connection,
    )


@pytest.mark.parametrize(
    ("module", "consumers", "note"),
    [
        (libvirt([LEAK]), {LEAK}, None),
        (libvirt(None), set(), "does not list its domains"),
        (None, set(), "library is not installed"),
    ],
)
def test_domains_of_libvirt_are_reported_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, consumers: set[str], note: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", module)
    document, notes = of_host.report("host1", tmp_path, (tmp_path,))
    assert document.consumers.keys() == consumers
    assert document.complete == (note is None)
    assert [note is not None and note in each for each in notes] == ([True] if note else [])


def test_this_host_is_reported(host: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_host, "report", lambda name: (ReportDocument(trees=[name]), ["a note"]))
    done = host.run("report", "host", "host1", "--json")
    assert json.loads(done.stdout)["source"] == "host-host1"
    assert "a note" in done.stderr

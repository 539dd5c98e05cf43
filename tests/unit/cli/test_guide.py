"""What is shown at start."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

from moorage.cli.welcome import EXAMPLES, GPU_NEXT_TO_CORES, Served, example, guide, query_string
from moorage.model.errors import TraitNotFoundError
from moorage.model.requests import Candidate, CandidateRequest, RequestGroup, SearchResult
from moorage.wiring.options import KEYSTONE, TOKEN

CANDIDATE = Candidate({"u1": {"PCPU": 4}}, {"": ("u1",)})
HERE = Served("http://127.0.0.1:8778")


def test_query_says_what_the_request_says() -> None:
    assert query_string(GPU_NEXT_TO_CORES) == (
        "resources=DISK_GB:40&resources_NUMA=PCPU:4,MEMORY_MB:16384&resources_GPU=PGPU:1"
        "&required_GPU=CUSTOM_GPU_A100&group_policy=none&same_subtree=_GPU,_NUMA&limit=2"
    )
    either = RequestGroup(resources={"VCPU": 1}, required=(frozenset({"B", "A"}),))
    assert query_string(CandidateRequest((either,))) == "resources=VCPU:1&required=in:A,B"


def test_example_is_the_first_for_which_there_is_room() -> None:
    asked: list[CandidateRequest] = []

    def search(request: CandidateRequest) -> SearchResult:
        asked.append(request)
        if len(asked) == 1:
            raise TraitNotFoundError("CUSTOM_GPU_A100")
        return SearchResult([CANDIDATE] if len(asked) == 3 else [], [])

    assert example(search) == (EXAMPLES[2], CANDIDATE)
    assert example(lambda _: SearchResult([], [])) is None


def test_guide_prints_commands_that_a_shell_splits_as_meant() -> None:
    text = guide(HERE, (GPU_NEXT_TO_CORES, CANDIDATE), "c1")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("  curl")]
    assert [command[-1] for command in commands] == [
        "http://127.0.0.1:8778/usages?project_id=astronomy",
        "http://127.0.0.1:8778/resource_providers",
        "http://127.0.0.1:8778/allocation_candidates?" + query_string(GPU_NEXT_TO_CORES),
        "http://127.0.0.1:8778/allocations/c1",
        "http://127.0.0.1:8778/allocations/c1",
    ]
    assert all("X-Auth-Token: admin" in command for command in commands[1:])
    body = json.loads(commands[3][commands[3].index("-d") + 1])
    assert body["allocations"] == {"u1": {"resources": {"PCPU": 4}}}
    assert body["consumer_generation"] is None
    assert "same node" in text
    assert "same node" not in guide(HERE, (EXAMPLES[1], CANDIDATE))


def test_guide_takes_a_new_consumer_every_time() -> None:
    found = (EXAMPLES[1], CANDIDATE)
    [first, again] = re.findall(r"/allocations/([0-9a-f-]{36})", guide(HERE, found))
    assert first == again
    assert first not in guide(HERE, found)


def test_guide_to_an_empty_database_shows_how_to_begin() -> None:
    text = guide(HERE, None, empty=True)
    assert "--demo" in text
    assert "-X POST" in text


def test_guide_without_an_example_only_lists() -> None:
    text = guide(HERE, None)
    assert "/resource_providers" in text
    assert "-X" not in text.replace("X-Auth", "")


def test_commands_for_a_service_that_asks_keystone_say_how_to_get_a_token() -> None:
    text = guide(Served("http://x", KEYSTONE), None)
    assert "  TOKEN=$(openstack token issue -f value -c id)" in text
    assert '-H "X-Auth-Token: $TOKEN"' in text
    assert "admin" not in text


def test_command_for_a_token_names_this_program_and_the_database_of_the_service() -> None:
    served = Served("http://x", TOKEN, ("/a b/moorage",), ("--database", "sqlite:////d.sqlite"))
    assert "  TOKEN=$('/a b/moorage' token create --role service --database sqlite:////d.sqlite)" in guide(
        served, None
    )
    # Options that would show a password are not printed, and so no command that lacks them.
    text = guide(replace(served, database=None), None)
    assert "--config-file for the database of this service" in text
    assert "TOKEN=$(" not in text


def test_commands_for_https_name_what_a_client_needs() -> None:
    text = guide(replace(HERE, url="https://x", certificate="/c.pem"), None)
    assert "curl -sS --cacert /c.pem" in text
    assert "--key" not in text
    assert "add --cert FILE and --key FILE" in guide(replace(HERE, asks_for_certificate=True), None)


def test_the_guide_names_the_console_first_unless_it_is_switched_off() -> None:
    assert guide(HERE, None).splitlines()[0].endswith("/moorage/console/ in a browser")
    assert "console" not in guide(replace(HERE, has_console=False), None)

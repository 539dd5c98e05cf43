"""What a running service makes of requests that no library would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.journeys.client import running_service
from tests.servers.databases import SQLITE, fresh_database

pytestmark = pytest.mark.journey

TOKEN = b"X-Auth-Token: admin\r\nX-Roles: admin,service\r\n"
HOST = b"Host: localhost\r\n"
BODY = b'{"name":"a"}'
POST = b"POST /resource_providers HTTP/1.1\r\n" + HOST + TOKEN + b"Content-Type: application/json\r\n"
GET = b"GET /resource_providers HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("service")
    variables = {"OS_PLACEMENT_MOORAGE__NOAUTH_HOSTS": "placement.example"}
    with (
        fresh_database(SQLITE, folder) as database,
        running_service(database, folder, variables=variables) as port,
    ):
        yield port


def answer_to(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body of the first answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        found = b""
        while b"\r\n\r\n" not in found:
            part = connection.recv(65536)
            assert part, found
            found += part
    return int(found.split()[1]), found.partition(b"\r\n\r\n")[2]


def test_a_request_to_the_name_of_another_machine_is_refused(port: int) -> None:
    for host in (b"evil.example", b"localhost.evil.example", b"192.0.2.1"):
        status, body = answer_to(port, GET + b"Host: " + host + b"\r\n" + TOKEN + b"\r\n")
        assert status == 401
        assert b"noauth_hosts" in body
    for host in (b"localhost:1", b"127.0.0.1", b"[::1]:8778", b"placement.example"):
        assert answer_to(port, GET + b"Host: " + host + b"\r\n" + TOKEN + b"\r\n")[0] == 200


def test_what_is_no_path_and_no_version_is_refused(port: int) -> None:
    bare = b"GET resource_providers HTTP/1.1\r\n" + HOST
    assert answer_to(port, bare + TOKEN + b"\r\n")[0] == 404
    assert answer_to(port, bare + b"\r\n")[0] == 401
    version = b"OpenStack-API-Version: placement 1.\xb9\r\n"
    assert answer_to(port, GET + HOST + TOKEN + version + b"\r\n")[0] == 400


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: hi mom\r\n\r\n",
        b"Content-Length: 12\r\nContent-Length: 2\r\n\r\n" + BODY,
        b"Content-Length: +12\r\n\r\n" + BODY,
        b"Transfer-Encoding: gzip\r\n\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        b"A: b\r\n c\r\n\r\n",
        b"A : b\r\n\r\n",
        b"A: b\0c\r\n\r\n",
    ],
)
def test_what_the_http_server_refuses_it_refuses_without_a_body(port: int, rest: bytes) -> None:
    assert answer_to(port, POST + rest) == (400, b"")


def test_what_the_http_server_takes_is_as_the_differences_list_it(port: int) -> None:
    length = b"Content-Length: 12\r\n"
    chunk = b"Transfer-Encoding: chunked\r\n\r\nc\r\n" + BODY + b"\r\n0\r\n\r\n"
    assert answer_to(port, POST + length + length + b"\r\n" + BODY)[0] == 201
    assert answer_to(port, POST + length + chunk)[0] == 409
    assert answer_to(port, b"GET / HTTP/1.1\nHost: localhost\n\n")[0] == 200


READER = b"X-Auth-Token: reader\r\n"


@pytest.mark.parametrize(
    "underscored", [b"X_Auth_Token: admin\r\n", b"X-Auth_Token: admin\r\n", b"x_auth_token: admin\r\n"]
)
def test_a_header_with_an_underscore_is_not_there(port: int, underscored: bytes) -> None:
    """A proxy that removes what stands for an identity does not know it under such a name."""
    assert answer_to(port, GET + HOST + underscored + b"\r\n")[0] == 401
    post = b"POST /resource_providers HTTP/1.1\r\n" + HOST
    rest = b"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n" + BODY
    for token in (underscored + READER, READER + underscored):
        assert answer_to(port, post + token + rest)[0] == 403
    assert answer_to(port, GET + HOST + underscored + TOKEN + b"\r\n")[0] == 200
    roles = READER + b"X_Roles: admin,service\r\n"
    assert answer_to(port, post + roles + rest)[0] == 403


def test_a_length_or_a_type_with_an_underscore_is_not_there(port: int) -> None:
    post = b"POST /resource_providers HTTP/1.1\r\n" + HOST + TOKEN
    length = b"Content-Length: 12\r\n\r\n"
    status, body = answer_to(port, post + b"Content_Type: application/json\r\n" + length + BODY)
    assert status == 400
    assert b"content-type header required" in body
    typed = post + b"Content-Type: application/json\r\n"
    assert answer_to(port, typed + b"Content_Length: 999\r\n" + length + BODY)[0] in {201, 409}


def test_a_byte_that_is_not_ascii_reaches_the_application(port: int) -> None:
    for version in (b"placement 1.\xb9", b"placement 1.3\xff", b"placement \xe9"):
        header = b"OpenStack-API-Version: " + version + b"\r\n"
        status, body = answer_to(port, GET + HOST + TOKEN + header + b"\r\n")
        assert status == 400
        assert b"version" in body.lower()
    # It is a stranger's name, and no missing one.
    assert answer_to(port, GET + HOST + b"X-Auth-Token: \xe9\r\n\r\n")[0] == 403
    assert answer_to(port, GET + b"Host: \xe9\r\n" + TOKEN + b"\r\n")[0] == 401
    typed = b"POST /resource_providers HTTP/1.1\r\n" + HOST + TOKEN + b"Content-Type: \xe9\r\n"
    assert answer_to(port, typed + b"Content-Length: 12\r\n\r\n" + BODY)[0] == 415


def test_an_empty_version_is_the_oldest(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(GET + HOST + TOKEN + b"OpenStack-API-Version: \r\n\r\n")
        assert b"openstack-api-version: placement 1.0\r\n" in connection.recv(65536)


def test_a_header_that_came_twice_is_a_list(port: int) -> None:
    """The list of ``OpenStack-API-Version`` has versions of several services."""
    both = b"OpenStack-API-Version: compute 2.1\r\nOpenStack-API-Version: placement 1.39\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(GET + HOST + TOKEN + both + b"\r\n")
        assert b"openstack-api-version: placement 1.39\r\n" in connection.recv(65536)
    roles = b"X-Auth-Token: reader\r\nX-Roles: reader\r\nX-Roles: admin\r\n"
    post = b"POST /resource_providers HTTP/1.1\r\n" + HOST + roles + b"Content-Type: application/json\r\n"
    assert answer_to(port, post + b"Content-Length: 12\r\n\r\n" + BODY)[0] in {201, 409}


@pytest.mark.parametrize(
    "second",
    [
        b"Content-Type: text/plain\r\n",
        b"Content-Type: application/json\r\n",
        b"Host: placement.example\r\n",
        HOST,
    ],
)
def test_a_second_header_where_only_one_can_count_is_refused(port: int, second: bytes) -> None:
    status, body = answer_to(port, POST + second + b"Content-Length: 12\r\n\r\n" + BODY)
    name = second.partition(b":")[0].lower()
    assert status == 400
    assert name + b" header must be there once only" in body
    # The first one is asked first.
    assert answer_to(port, GET + second + b"Host: evil.example\r\n\r\n")[0] == 401


@pytest.mark.parametrize("end", [b"", b"zz\r\n"], ids=["breaks off", "goes wrong"])
def test_a_body_in_chunks_that_lacks_its_end_is_not_carried_out(port: int, end: bytes) -> None:
    """What came looks whole, but the client may have had more to say."""
    body = b'{"name":"cut"}'
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\ne\r\n" + body + b"\r\n" + end)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    version = b"OpenStack-API-Version: placement 1.39\r\n"
    query = b"GET /resource_providers?name=cut HTTP/1.1\r\n"
    status, found = answer_to(port, query + HOST + TOKEN + version + b"\r\n")
    assert (status, found) == (200, b'{"resource_providers":[]}')

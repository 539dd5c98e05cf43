"""The WSGI environ of what came."""

from __future__ import annotations

from wsgiref import validate

import pytest

from moorage.api.http.intake import DOUBLED
from moorage.serve.body_slots import NO_BODY
from moorage.serve.environ import NO_PATH, environ_of
from tests.unit.serve.asgi import scope


def headers(*sent: tuple[bytes, bytes]) -> dict[str, str]:
    """The headers of an environ."""
    environ = environ_of(scope(*sent))
    return {
        name: value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    }


def test_it_is_what_pep_3333_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = environ_of(scope((b"host", b"x")))
    environ["wsgi.input"] = NO_BODY
    # The application reads in no other way.
    monkeypatch.setattr(validate, "check_input", lambda _: None)
    validate.check_environ(environ)  # type: ignore[attr-defined]
    assert environ["wsgi.input_terminated"]


def test_it_says_who_asks_whom_for_what() -> None:
    environ = environ_of(scope(method="PUT", raw_path=b"/a", query_string=b"b=%20c", scheme="https"))
    assert environ["REQUEST_METHOD"] == "PUT"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("", "/a", "b=%20c")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", "8778")
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(("version", "protocol"), [("1", "HTTP/1.0"), ("1.1", "HTTP/1.1")])
def test_a_protocol_is_spelled_in_full(version: str, protocol: str) -> None:
    assert environ_of(scope(http_version=version))["SERVER_PROTOCOL"] == protocol


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b"/a", "/a"),
        (b"/a%2Fb%20c", "/a/b c"),
        (b"/%E2%98%83", "/\xe2\x98\x83"),
        (b"/%ff%zz", "/\xff%zz"),
        (b"*", "*"),
        (b"", NO_PATH),
    ],
)
def test_a_path_is_decoded_to_bytes_and_one_that_is_none_is_no_root(sent: bytes, path: str) -> None:
    assert environ_of(scope(raw_path=sent))["PATH_INFO"] == path


def test_each_header_has_its_key() -> None:
    assert headers(
        (b"host", b"x"), (b"content-type", b"text/plain"), (b"content-length", b"1"), (b"x-a-b", b"c")
    ) == {"HTTP_HOST": "x", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "1", "HTTP_X_A_B": "c"}


def test_a_header_with_an_underscore_is_left_out() -> None:
    assert headers((b"x_auth_token", b"a"), (b"x-auth_token", b"a"), (b"content_length", b"1")) == {}
    assert headers((b"x_auth_token", b"a"), (b"x-auth-token", b"b")) == {"HTTP_X_AUTH_TOKEN": "b"}
    assert headers((b"x-auth-token", b"b"), (b"x_auth_token", b"a")) == {"HTTP_X_AUTH_TOKEN": "b"}


def test_a_byte_that_is_not_ascii_is_a_character() -> None:
    assert headers((b"openstack-api-version", b"placement 1.\xb9")) == {
        "HTTP_OPENSTACK_API_VERSION": "placement 1.\xb9"
    }
    assert headers((b"x-empty", b"")) == {"HTTP_X_EMPTY": ""}


def test_a_header_that_came_twice_is_a_list() -> None:
    assert headers((b"x-roles", b"a"), (b"x-roles", b"b")) == {"HTTP_X_ROLES": "a, b"}
    assert headers((b"cookie", b"a=1"), (b"cookie", b"b=2")) == {"HTTP_COOKIE": "a=1; b=2"}


@pytest.mark.parametrize("name", [b"host", b"content-type", b"content-length"])
def test_of_a_header_of_which_there_is_one_the_first_stays_and_the_second_is_told(name: bytes) -> None:
    environ = environ_of(scope((name, b"1"), (name, b"1")))
    assert environ[DOUBLED] == name.decode()
    assert headers((name, b"1"), (name, b"2")) == headers((name, b"1"))
    assert DOUBLED not in environ_of(scope((name, b"1")))

"""The console's files reach browsers, and only browsers are led to it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable
from typing import Any

from moorage.api.console.application import PAGES, PATH, Console, Door
from moorage.api.console.files import as_sent, packaged_files
from tests.table import each
from tests.unit.telemetry.calls import get

CONSOLE = Console("noauth2")
FILES = packaged_files()

MOST_BYTES = 63_000
"""Of all files together, compressed."""

HTML = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


def wire(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"versions"]


@each("path", ["", *PAGES])
def test_every_page_is_the_one_document(path: str) -> None:
    told = get(CONSOLE, f"{PATH}/{path}")
    assert (told.status, told.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert told.body == FILES["index.html"].content


@each("path", sorted(FILES))
def test_every_file_is_sent_with_its_type_and_forbids_what_the_console_does_not_need(path: str) -> None:
    told = get(CONSOLE, f"{PATH}/{path}")
    assert told.body == FILES[path].content
    assert told.headers["Content-Length"] == str(len(told.body))
    assert told.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert told.headers["X-Content-Type-Options"] == "nosniff"
    assert told.headers["Cache-Control"] == "no-cache"
    assert "Set-Cookie" not in told.headers


def test_a_copy_that_still_holds_is_not_sent_again() -> None:
    tag = get(CONSOLE, f"{PATH}/app.js").headers["ETag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        told = get(CONSOLE, f"{PATH}/app.js", {"HTTP_IF_NONE_MATCH": header})
        assert (told.status, told.body, told.headers["ETag"]) == (304, b"", tag)
    assert get(CONSOLE, f"{PATH}/app.js", {"HTTP_IF_NONE_MATCH": '"other"'}).status == 200


@each(
    ("header", "squeezed"),
    [("gzip, deflate, br", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_files_are_compressed_for_clients_that_take_it(header: str, squeezed: bool) -> None:
    told = get(CONSOLE, f"{PATH}/app.js", {"HTTP_ACCEPT_ENCODING": header})
    assert ("Content-Encoding" in told.headers) == squeezed
    assert (gzip.decompress(told.body) if squeezed else told.body) == FILES["app.js"].content
    assert told.headers["Vary"] == "Accept-Encoding"


def test_all_files_together_are_small() -> None:
    assert sum(len(file.squeezed) for file in FILES.values()) < MOST_BYTES


def test_head_sends_no_body() -> None:
    for path, status in ((f"{PATH}/app.js", 200), (f"{PATH}/nothing", 404)):
        told = get(CONSOLE, path, method="HEAD")
        assert (told.status, told.body) == (status, b"")
        assert int(told.headers["Content-Length"]) > 0


@each("path", ["nothing", "pages", "pages/", "../application.py", "pages/../app.js", "map/"])
def test_other_paths_are_not_found(path: str) -> None:
    assert get(CONSOLE, f"{PATH}/{path}").status == 404


def test_the_console_only_reads() -> None:
    told = get(CONSOLE, f"{PATH}/map", method="POST")
    assert (told.status, told.headers["Allow"]) == (405, "GET, HEAD")


def test_the_path_without_a_slash_leads_to_the_one_with_it_under_any_prefix() -> None:
    told = get(CONSOLE, PATH, {"SCRIPT_NAME": "/placement"})
    assert (told.status, told.headers["Location"]) == (302, "console/")


def test_the_pages_learn_how_clients_are_authenticated() -> None:
    told = get(Console("keystone"), f"{PATH}/settings.json").json
    assert told == {"auth_strategy": "keystone", "writes": False}
    assert get(Console("keystone", writes=True), f"{PATH}/settings.json").json["writes"] is True


@each("path", [name for name in sorted(FILES) if name.endswith((".js", ".css", ".html"))])
def test_no_file_names_another_origin_or_an_absolute_path(path: str) -> None:
    text = FILES[path].content.decode()
    assert not re.findall(
        r"(?:src|href)=[\"']/|url\(|@import|\bimport\b.*[\"']/|\binnerHTML\b|\beval\(", text
    )
    assert not re.findall(r"https?://(?!controller/)", text)


@each(
    ("path", "prefix", "location"),
    [
        ("/", "", "moorage/console/"),
        ("/", "/placement", "moorage/console/"),
        ("", "/placement", "/placement/moorage/console/"),
    ],
)
def test_a_browser_is_led_to_the_console(path: str, prefix: str, location: str) -> None:
    told = get(Door(wire), path, {"HTTP_ACCEPT": HTML, "SCRIPT_NAME": prefix})
    assert (told.status, told.body, told.headers["Location"]) == (302, b"", location)
    assert told.headers["Cache-Control"] == "no-store"


@each(
    "headers",
    [
        {},
        {"HTTP_ACCEPT": "*/*"},
        {"HTTP_ACCEPT": "application/json"},
        {"HTTP_ACCEPT": "text/plain, text/*"},
        {"HTTP_ACCEPT": HTML, "HTTP_X_AUTH_TOKEN": "admin"},
        {"HTTP_ACCEPT": HTML, "HTTP_OPENSTACK_API_VERSION": "placement 1.39"},
    ],
)
def test_other_clients_get_the_answer_of_the_wire(headers: dict[str, str]) -> None:
    assert get(Door(wire), "/", headers).body == b"versions"


@each("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_get_the_answer_of_the_wire(method: str) -> None:
    assert get(Door(wire), "/", {"HTTP_ACCEPT": HTML}, method=method).body == b"versions"


def test_comments_and_indentation_stay_in_the_package() -> None:
    text = b'/** Doc.\n * More. */\nlet a = "/* b */"; // c\n  // d\n  x = 1;\n/* e */ f();\n'
    assert as_sent("a.js", text) == b'let a = "/* b */"; // c\nx = 1;\n/* e */ f();\n'
    assert as_sent("a.css", b"/* e */\na {\n  b: url(//c) }\n") == b"a {\nb: url(//c) }\n"
    assert as_sent("a.html", text) == text


def test_no_text_of_a_script_goes_over_several_lines() -> None:
    for path, file in FILES.items():
        if path.endswith(".js"):
            assert all(line.count(b"`") % 2 == 0 for line in file.content.splitlines()), path

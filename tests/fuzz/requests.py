"""Requests that are nearly right, or not at all: made from a seed and a number, the same every time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

HOST = "00000000-0000-4000-8000-000000000001"
CHILD = "00000000-0000-4000-8000-000000000002"
SPARE = "00000000-0000-4000-8000-000000000003"
NOBODY = "00000000-0000-4000-8000-000000000009"
CONSUMER = "00000000-0000-4000-8000-00000000000c"
NEWCOMER = "00000000-0000-4000-8000-00000000000d"
AGGREGATE = "00000000-0000-4000-8000-00000000000a"

UUIDS = (HOST, CHILD, SPARE, NOBODY, CONSUMER, NEWCOMER, AGGREGATE)
CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB", "CUSTOM_HELD", "CUSTOM_FREE", "CUSTOM_NONE", "vcpu", "")
TRAITS = ("CUSTOM_HELD", "CUSTOM_FREE", "HW_CPU_X86_AVX2", "CUSTOM_NONE", "MISC_SHARES_VIA_AGGREGATE", "")

INJECTIONS = (
    "'; DROP TABLE resource_providers; --",
    "' OR '1'='1",
    '" OR ""="',
    "1; SELECT pg_sleep(10)",
    "%27%20OR%201=1",
    "\\'; DELETE FROM allocations; #",
    "UNION SELECT * FROM consumers",
    "%s%s%n{0}{name}:name?1",
    "${jndi:ldap://x}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "CUSTOM_A' AND SLEEP(5) AND 'a'='a",
    "_%",
)
ODD_TEXTS = (
    "",
    " ",
    "\t\n",
    "\r\nX-Injected: 1",
    "\x00",
    "\x7f",
    "x" * 201,
    "X" * 256,
    "x" * 5000,
    "\u00e9\u00df\u4e2d",
    "\U0001f600",
    "\ud800",
    "\u202e",
    "NaN",
    "null",
    "-1",
    "0",
    "1e309",
    "latest",
    "all",
    "in:",
    "!",
    "!in:",
    *INJECTIONS,
)
ODD_NUMBERS = (0, -1, 1, 2, 2.0, 0.5, -0.0, 1e308, 2**31 - 1, 2**31, 2**53, 2**63, 10**40, 1e-320, 10**400)
ODD_VALUES: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"a": None}, *ODD_NUMBERS, *ODD_TEXTS)

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOO")

PATHS: dict[str, tuple[str, ...]] = {
    "/": ("GET",),
    "/openapi.json": ("GET",),
    "/resource_classes": ("GET", "POST"),
    "/resource_classes/{class}": ("GET", "PUT", "DELETE"),
    "/resource_providers": ("GET", "POST", "POST"),
    "/resource_providers/{uuid}": ("GET", "PUT", "PUT", "DELETE"),
    "/resource_providers/{uuid}/inventories": ("GET", "POST", "PUT", "PUT", "DELETE"),
    "/resource_providers/{uuid}/inventories/{class}": ("GET", "PUT", "PUT", "DELETE"),
    "/resource_providers/{uuid}/usages": ("GET",),
    "/resource_providers/{uuid}/aggregates": ("GET", "PUT", "PUT"),
    "/resource_providers/{uuid}/allocations": ("GET",),
    "/resource_providers/{uuid}/traits": ("GET", "PUT", "PUT", "DELETE"),
    "/allocations": ("POST",),
    "/allocations/{uuid}": ("GET", "PUT", "PUT", "PUT", "DELETE"),
    "/allocation_candidates": ("GET",),
    "/traits": ("GET",),
    "/traits/{trait}": ("GET", "PUT", "DELETE"),
    "/usages": ("GET",),
    "/reshaper": ("POST",),
    "/no/such/path": ("GET",),
}
"""Paths, and the methods that they are mostly asked with."""

POPULAR = (
    "/allocation_candidates",
    "/allocations",
    "/allocations/{uuid}",
    "/resource_providers/{uuid}/inventories",
    "/reshaper",
)
"""Paths with the most to get wrong: asked more often."""


@dataclass(frozen=True)
class Request:
    """What is sent. ``headers`` may name one twice; ``body`` of None sends none."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass
class Maker:
    """Makes one request; ``random`` is its only source of chance."""

    random: random.Random = field(default_factory=random.Random)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def any(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def uuid(self) -> str:
        if self.often(0.03):
            return str(self.any(*ODD_TEXTS))
        found = str(self.any(*UUIDS))
        return str(self.any(*[found] * 12, found.upper(), found.replace("-", "")))

    def name(self, names: tuple[str, ...]) -> str:
        return str(self.any(*ODD_TEXTS)) if self.often(0.04) else str(self.any(*names))

    def number(self) -> Any:
        return self.any(*ODD_NUMBERS) if self.often(0.1) else self.random.randint(0, 9)

    def generation(self) -> Any:
        """Rarely an impossible one, so that it is right now and then."""
        return self.any(*ODD_NUMBERS) if self.often(0.05) else self.any(None, None, *range(8))

    # Bodies

    def inventory(self) -> dict[str, Any]:
        fields = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
        found = {name: self.number() for name in fields if self.often(0.15)}
        return {"total": self.random.randint(1, 99), **found}

    def inventories(self) -> dict[str, Any]:
        named = {self.name(CLASSES): self.inventory() for _ in range(self.random.randint(0, 3))}
        return {"resource_provider_generation": self.generation(), "inventories": named}

    def resources(self) -> dict[str, Any]:
        return {self.name(CLASSES): self.number() for _ in range(self.random.randint(1, 2))}

    def claim(self) -> dict[str, Any]:
        held: Any = {self.uuid(): {"resources": self.resources()} for _ in range(self.random.randint(0, 2))}
        if self.often(0.1):
            held = [
                {"resource_provider": {"uuid": self.uuid()}, "resources": self.resources()}
                for _ in range(self.random.randint(0, 3))
            ]
        return {
            "allocations": held,
            "project_id": self.name(("project", "other")),
            "user_id": self.name(("user", "other")),
            "consumer_generation": self.generation(),
            "consumer_type": self.name(("INSTANCE", "MIGRATION")),
        }

    def body_for(self, path: str) -> Any:
        """Something like what the path's writes want."""
        makers: dict[str, Callable[[], Any]] = {
            "/resource_classes": lambda: {"name": self.name(("CUSTOM_FREE", "CUSTOM_MADE", "VCPU"))},
            "/resource_providers": lambda: {
                "name": self.name(("host", "made", "other")),
                "uuid": self.uuid(),
                "parent_provider_uuid": self.any(None, self.uuid()),
            },
            "/resource_providers/{uuid}": lambda: {
                "name": self.name(("host", "made", "other")),
                "parent_provider_uuid": self.any(None, self.uuid()),
            },
            "/resource_providers/{uuid}/inventories": self.inventories,
            "/resource_providers/{uuid}/inventories/{class}": lambda: {
                **self.inventory(),
                "resource_provider_generation": self.generation(),
            },
            "/resource_providers/{uuid}/aggregates": lambda: {
                "aggregates": [self.uuid() for _ in range(self.random.randint(0, 3))],
                "resource_provider_generation": self.generation(),
            },
            "/resource_providers/{uuid}/traits": lambda: {
                "traits": [self.name(TRAITS) for _ in range(self.random.randint(0, 3))],
                "resource_provider_generation": self.generation(),
            },
            "/allocations": lambda: {self.uuid(): self.claim() for _ in range(self.random.randint(1, 2))},
            "/allocations/{uuid}": self.claim,
            "/reshaper": lambda: {
                "inventories": {self.uuid(): self.inventories() for _ in range(self.random.randint(1, 2))},
                "allocations": {self.uuid(): self.claim() for _ in range(self.random.randint(0, 2))},
            },
        }
        make = makers.get(path)
        return self.any(*ODD_VALUES) if make is None else make()

    def spoilt(self, value: Any) -> Any:
        """``value`` with something in it replaced, taken away, added or repeated."""
        if isinstance(value, dict) and value and self.often(0.8):
            key = self.any(*value)
            found = dict(value)
            match self.random.randint(0, 4):
                case 0:
                    del found[key]
                case 1:
                    found[str(self.any(*ODD_TEXTS))] = found[key]
                case 2:
                    found[key] = self.any(*ODD_VALUES)
                case _:
                    found[key] = self.spoilt(found[key])
            return found
        if isinstance(value, list) and value and self.often(0.8):
            place = self.random.randrange(len(value))
            return self.any(
                value[:place],
                value * 2,
                [*value[:place], self.spoilt(value[place]), *value[place + 1 :]],
            )
        return self.any(*ODD_VALUES)

    def bytes_of(self, value: Any) -> bytes:
        """JSON, mostly."""
        content = json.dumps(value).encode("utf-8", "surrogatepass")
        if self.often(0.05):
            place = self.random.randrange(len(content) + 1)
            junk = self.any(b"\x00", b"\xff\xfe", b"{", b"]", b"\\ud800", b",", b"[" * 2000, b"NaN", b"1e999")
            content = content[:place] + junk + content[place + self.any(0, 1, 5) :]
        return content

    # Query strings

    def resources_text(self) -> str:
        amounts = (f"{self.name(CLASSES)}:{self.number()}" for _ in range(self.random.randint(1, 3)))
        return ",".join(amounts)

    def traits_text(self) -> str:
        prefix = str(self.any("", "", "!", "in:", "!!", "in:!"))
        return prefix + ",".join(self.name(TRAITS) for _ in range(self.random.randint(1, 3)))

    def members_text(self) -> str:
        prefix = str(self.any("", "", "in:", "!in:", "!"))
        return prefix + ",".join(self.uuid() for _ in range(self.random.randint(1, 2)))

    def query(self, path: str) -> str:
        """Parameters, known or not."""
        suffixes = ("", "", "1", "2", "_A", "_B", "a" * 65, "\u00e9")
        pairs: list[tuple[str, str]] = []
        for _ in range(self.random.randint(0, 6)):
            suffix = self.any(*suffixes)
            pairs.append(
                self.any(
                    (f"resources{suffix}", self.resources_text()),
                    (f"resources{suffix}", self.resources_text()),
                    (f"required{suffix}", self.traits_text()),
                    (f"member_of{suffix}", self.members_text()),
                    (f"in_tree{suffix}", self.uuid()),
                    ("limit", str(self.number())),
                    ("group_policy", self.any("none", "isolate", "other")),
                    ("root_required", self.traits_text()),
                    ("same_subtree", ",".join(self.any(*suffixes) for _ in range(2))),
                    ("name", self.name(("host", "in:CUSTOM_HELD", "startswith:CUSTOM", "startswith:%"))),
                    ("uuid", self.uuid()),
                    ("associated", self.any("true", "False", "perhaps")),
                    ("project_id", self.name(("project", "other"))),
                    ("user_id", self.name(("user", "other"))),
                    ("consumer_type", self.name(("INSTANCE", "all", "unknown", "allX"))),
                    (str(self.any(*ODD_TEXTS)), str(self.any(*ODD_TEXTS))),
                )
            )
        if path == "/allocation_candidates" and self.often(0.8):
            pairs.append(("resources", "VCPU:1"))
        if path == "/usages" and self.often(0.8):
            pairs.append(("project_id", "project"))
        text = urlencode(pairs, errors="surrogatepass")
        if self.often(0.05):
            text += self.any("&", "=", "%", "%ff", "%00", ";a=b", "&&&=", "?", "+", "%u0041")
        return text

    # All together

    def headers(self, *, has_body: bool) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        if self.often(0.93):
            found.append(("X-Auth-Token", "admin"))
        elif self.often(0.7):
            found.append(("X-Auth-Token", self.any("user:project", ":", "'; --", "x" * 300, "a" * 9000)))
        if self.often(0.9):
            found.append(("X-Roles", "admin,service"))
        elif self.often(0.7):
            found.append(("X-Roles", self.any("admin", "service", "reader", "", "a,b,\t")))
        if self.often(0.8):
            found.append(("OpenStack-API-Version", "placement 1.39"))
        elif self.often(0.8):
            service = self.any("placement", "placement", "PLACEMENT", "compute", "")
            version = self.any("latest", "1", "2.0", "1.1.1", "x", *[f"1.{self.random.randint(0, 41)}"] * 9)
            found.append(("OpenStack-API-Version", f"{service} {version}"))
        if has_body and not self.often(0.03):
            kinds = (
                "text/plain",
                "APPLICATION/JSON",
                "application/json; charset=x",
                "",
                "multipart/form-data",
            )
            found.append(("Content-Type", self.any(*["application/json"] * 20, *kinds)))
        if self.often(0.15):
            accepts = (
                "*/*",
                "text/html",
                "text/plain",
                "application/json;q=0",
                "x",
                ",,;;",
                "*" * 50,
                "a/b;q=x",
            )
            found.append(("Accept", self.any(*accepts)))
        if self.often(0.05):
            odd = (
                ("X-Request-Id", "../../x"),
                ("X-OpenStack-Request-Id", "req-' OR 1=1"),
                ("Origin", "http://evil.example"),
                ("Host", "evil.example"),
                ("X-Forwarded-Proto", "javascript"),
                ("Transfer-Encoding", "chunked"),
                ("Content-Encoding", "gzip"),
                ("Expect", "100-continue"),
                ("OpenStack-System-Scope", "all"),
                ("X-More", "x" * self.any(10, 20_000, 40_000)),
                ("If-Match", "*"),
                ("Range", "bytes=0-5"),
            )
            found.append(self.any(*odd))
        return tuple(found)

    def request(self) -> Request:
        """One request."""
        template = self.any(*PATHS, *POPULAR, *POPULAR)
        path = template.replace("{uuid}", quote(self.uuid(), safe="", errors="surrogatepass"))
        path = path.replace("{class}", quote(self.name(CLASSES), safe="", errors="surrogatepass"))
        path = path.replace("{trait}", quote(self.name(TRAITS), safe="", errors="surrogatepass"))
        if self.often(0.02):
            path += self.any("/", "//", "/x", "%2f", "%00", "%ff", ";x", "/../", "\u00e9".encode().hex())
        if self.often(0.02):
            path = "/" + path
        method = self.any(*METHODS) if self.often(0.05) else self.any(*PATHS[template])
        query = self.query(template) if self.often(0.9 if method == "GET" else 0.1) else ""
        if query:
            path += "?" + query
        body = None
        if self.often(0.95 if method in {"POST", "PUT"} else 0.05):
            value = self.body_for(template)
            while self.often(0.2):
                value = self.spoilt(value)
            body = self.bytes_of(value)
        return Request(method, path, self.headers(has_body=body is not None), body)


def request(seed: int, number: int) -> Request:
    """The request of that number in the sequence of a seed."""
    return Maker(random.Random(f"{seed}/{number}")).request()

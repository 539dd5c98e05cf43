"""A service with one host of GPUs that has leases, as far as commands use it: its state is the test's."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "aaaa0000-0000-4000-8000-000000000000"
LEASE = "c3c30000-0000-4000-8000-000000000001"
CONSUMER = "0b0b0000-0000-4000-8000-000000000001"
ROOT = {"uuid": HOST, "name": "host", "root_provider_uuid": HOST}
PROBLEM = "application/problem+json"


def gpu(number: int) -> str:
    return f"bbbb0000-0000-4000-8000-00000000000{number}"


def problem(status: int, code: str, **more: Any) -> tuple[int, Any]:
    return status, {"code": code, "type": f"/moorage/v1/problems/{code}", "detail": code, "title": "", **more}


@dataclass
class Leasing:
    """``silent``: requests get no answer. ``gone``: the state of the lease, once it has ended."""

    url: str = ""
    ttl: str = "60s"
    gpus: tuple[int, ...] = (0,)
    silent: bool = False
    gone: str | None = None
    revived: bool = False
    refusals: list[tuple[int, Any]] = field(default_factory=list)
    pages: list[tuple[int, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    renewals: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    has_leases: bool = True
    names_shown: bool = True
    away: dict[str, int] = field(default_factory=dict)
    """How often requests to a path get 503 before they are answered."""

    def sent(self, method: str, path: str) -> list[tuple[str, Any]]:
        """Requests whose path begins so, with their bodies."""
        return [(p, body) for m, p, body in self.requests if m == method and p.startswith(path)]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """The answer to the first route that fits."""
        if self.away.get(path):
            self.away[path] -= 1
            return problem(503, "unavailable", retry={"after_seconds": 0})
        routes: list[tuple[str, Callable[[], tuple[int, Any]]]] = [
            (r"GET /resource_providers.*", lambda: problem(403, "forbidden")),
            (r"GET /resource_providers/.*", lambda: (200, ROOT)),
            (r"GET /resource_providers(\?name=host)?", lambda: (200, {"resource_providers": [ROOT]})),
            (r"GET /resource_providers\?name=.*", lambda: (200, {"resource_providers": []})),
            (r"POST /moorage/v1/leases", self.grant),
            (r"POST /moorage/v1/leases/renewals", lambda: (200, self.renewed(body["leases"]))),
            (r"DELETE /moorage/v1/leases/[^/]*\?.*", self.end),
            (r"GET /moorage/v1/leases\?.*", lambda: (200, {"leases": [self.lease("active")], "next": None})),
            (r"\w+ /moorage/v1/leases/.*", lambda: (200, self.lease("active"))),
            (r"GET /moorage/v1/claims.*", lambda: (200, {"claims": [{"consumer": CONSUMER}], "next": None})),
            (r"POST /moorage/v1/explanations", self.explain),
            (r"POST /moorage/v1/claims", lambda: (201, self.claimed())),
            (r"GET /moorage/v1/trees/.*", lambda: (200, {"providers": self.tree()})),
            (r"GET /moorage/v1/changes.*", lambda: self.pages.pop(0)),
            (r"GET /moorage", lambda: (200, {"versions": [{"id": "v1", "features": []}]})),
        ]
        for pattern, answer in routes[self.names_shown :]:
            if re.fullmatch(pattern, f"{method} {path}"):
                return answer()
        return problem(404, "not_found")

    def explain(self) -> tuple[int, Any]:
        if not self.refusals:
            return 200, {"verdict": "fits", "revision": 7}
        _, refused = self.refusals.pop(0)
        told = {"summary": "No tree can.", "constraints": [], **refused.get("explanation", {})}
        return 200, {"verdict": refused["code"], "revision": 7, **told}

    def grant(self) -> tuple[int, Any]:
        return (201, self.lease("active")) if self.has_leases else problem(404, "not_found")

    def end(self) -> tuple[int, Any]:
        return problem(409, "lease_gone") if self.gone else (200, self.lease("released"))

    def lease(self, state: str) -> dict[str, Any]:
        return {
            "lease": LEASE,
            "owner": "job",
            "project_id": "p",
            "state": state,
            "remaining": self.ttl,
            "ttl": self.ttl,
            "grace": "15s",
            "on_expiry": "release",
            "ends_in": None,
            "claims": 1,
            "fence": 9,
            "revision": 7,
        }

    def renewed(self, names: list[str]) -> dict[str, Any]:
        self.renewals.release()
        if self.gone:
            return {"renewed": [], "gone": [{"lease": name, "state": self.gone} for name in names]}
        revived, self.revived = self.revived, False
        return {
            "renewed": [{"lease": name, "remaining": self.ttl, "revived": revived} for name in names],
            "gone": [],
        }

    def claimed(self) -> dict[str, Any]:
        held = {gpu(number): {"resources": {"PGPU": 1}} for number in self.gpus}
        made = {"consumer": CONSUMER, "generation": 1, "allocations": held, "entry": 0, "index": 0}
        return {"revision": 8, "claims": [made], "unplaced": []}

    def tree(self) -> list[dict[str, Any]]:
        rows = [{"uuid": HOST, "name": "host", "root": HOST}]
        return rows + [{"uuid": gpu(n), "name": f"host-nvidia{n}", "root": HOST} for n in range(4)]


@contextmanager
def leasing(**options: Any) -> Iterator[Leasing]:
    """Serve it on a free port."""
    state = Leasing(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def respond(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content else None
            state.requests.append((self.command, self.path, body))
            if state.silent:
                self.close_connection = True
                return
            status, answer = state.answer(self.command, self.path, body)
            told = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", PROBLEM if "code" in answer else "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing: pytest shows enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()

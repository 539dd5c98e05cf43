"""Moorage and the reference, each on a database of its own, and what both of them are asked.

The reference's is an SQLite file, and so is Moorage's unless another one is named.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moorage.api.placement import application
from moorage.auth.policy import default_policy
from moorage.model.requests import SearchSettings
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.store.store import Store
from tests.databases.prepared import Emptying, prepare_schema, store_on
from tests.peer import state
from tests.peer.exchange import Answer, Request, WsgiApplication, call
from tests.peer.state import State
from tests.servers.keeper import without_coverage

REPOSITORY = Path(__file__).parents[2]


class Moorage:
    """Moorage in this process; ``reset`` gives it an empty database."""

    def __init__(self, database: Path, url: str | None = None) -> None:
        self.database = database
        self._server_url = url
        self._pristine = database.with_suffix(".pristine")
        prepare_schema(self.url)
        if url is None:
            shutil.copy(database, self._pristine)
        else:
            self._empty = Emptying(url)
        self._store_now: Store | None = None
        self._applications: dict[tuple[int, bool], WsgiApplication] = {}

    @property
    def url(self) -> str:
        """Where it keeps everything."""
        return self._server_url or f"sqlite:///{self.database}"

    def state(self) -> State:
        """All that it holds."""
        return state.read(self.database) if self._server_url is None else state.read_url(self._server_url)

    def reset(self) -> None:
        """Forget everything but the standard names."""
        self.close()
        if self._server_url is not None:
            self._empty()
        else:
            for leftover in self.database.parent.glob(f"{self.database.name}-*"):
                leftover.unlink()
            shutil.copy(self._pristine, self.database)
        self._store_now = store_on(self.url)

    def close(self) -> None:
        """Let go of the database."""
        self._applications.clear()
        if self._store_now is not None:
            self._store_now.close()
            self._store_now = None

    def _application(self, max_candidates: int, new_defaults: bool) -> WsgiApplication:
        """The one that is configured so."""
        assert self._store_now is not None
        made = self._applications.get((max_candidates, new_defaults))
        if made is None:
            settings = ServiceSettings(search=SearchSettings(max_candidates=max_candidates))
            policy = default_policy(enforce_new_defaults=new_defaults)
            made = application.create(Service(self._store_now, settings), policy=policy)
            self._applications[max_candidates, new_defaults] = made
        return made

    def send(self, request: Request) -> Answer:
        return call(self._application(request.max_candidates, request.new_defaults), request)


class Reference:
    """The reference in a process of its own."""

    def __init__(self, database: Path, configuration: Path | None = None) -> None:
        self.database = database
        self.log = database.with_suffix(".log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.peer.reference_process", str(database)),
                    *([] if configuration is None else [str(configuration)]),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                env=without_coverage(os.environ),
            )
        try:
            self._result()
        except EOFError:
            self.close()
            raise RuntimeError(f"The reference does not start:\n{self.log.read_text()[-4000:]}") from None

    def _order(self, order: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(order, self._process.stdin)
        self._process.stdin.flush()

    def _result(self) -> Any:
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def reset(self) -> None:
        """Forget everything but the standard names."""
        self._order("reset")
        self._result()

    def start_sending(self, request: Request) -> None:
        """Let it work on ``request``; ``finish_sending`` gives the answer."""
        self._order(request)

    def finish_sending(self) -> Answer:
        answer = self._result()
        assert isinstance(answer, Answer)
        return answer

    def send(self, request: Request) -> Answer:
        self.start_sending(request)
        return self.finish_sending()

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()


class Peers:
    """Both of them."""

    def __init__(self, moorage: Moorage, reference: Reference) -> None:
        self.moorage = moorage
        self.reference = reference

    def reset(self) -> None:
        """Both forget everything but the standard names."""
        self.moorage.reset()
        self.reference.reset()

    def send(self, request: Request) -> tuple[Answer, Answer]:
        """Answers of Moorage and of the reference."""
        self.reference.start_sending(request)
        try:
            ours = self.moorage.send(request)
        finally:
            theirs = self.reference.finish_sending()
        return ours, theirs


@contextmanager
def running(folder: Path, url: str | None = None) -> Iterator[Peers]:
    """Both, with their databases in ``folder``; Moorage's is the empty one at ``url`` if that is given."""
    reference = Reference(folder / "reference.sqlite")
    try:
        moorage = Moorage(folder / "moorage.sqlite", url)
        try:
            yield Peers(moorage, reference)
        finally:
            moorage.close()
    finally:
        reference.close()

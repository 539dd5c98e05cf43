"""Runs one of the reference's files against an application of our own in this process."""

from __future__ import annotations

import os
import unittest
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import yaml
from gabbi import handlers, suitemaker
from gabbi.fixture import GabbiFixture
from gabbi.handlers import jsonhandler

from moorage.api.http.cors import with_cors
from moorage.api.http.exchange import WsgiApplication
from moorage.api.placement.application import create
from moorage.auth.identity import Identity
from moorage.auth.policy import Policy, Target, default_policy
from moorage.service.facade import Service
from moorage.wiring.options import read_options
from tests.databases.prepared import store_on
from tests.wire import states
from tests.wire.states import State

HOST: Final = "wire.test"
"""Name under which the application is asked; nothing looks it up."""


class OpenPolicy:
    """Everybody may do everything."""

    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        """See ``Policy``."""


LEGACY: Final = default_policy(enforce_new_defaults=False)
"""As most files take it for granted."""

VALID_ORIGIN: Final = {"allowed_origin": "http://valid.example.com", "allow_headers": "openstack-api-version"}


@dataclass(frozen=True)
class Setting:
    """What a file takes for granted: a state, and how the application is set up."""

    state: State = states.nothing
    policy: Policy = LEGACY
    cors: Mapping[str, str] = field(default_factory=dict)


SETTINGS: Final = {
    "APIFixture": Setting(),
    "AllocationFixture": Setting(states.allocations),
    "CORSFixture": Setting(cors=VALID_ORIGIN),
    "DeepNUMANetworkFixture": Setting(states.deep_numa_network),
    "GranularFixture": Setting(states.granular),
    "LegacyRBACPolicyFixture": Setting(),
    "NUMAAggregateFixture": Setting(states.numa_aggregates),
    "NUMANetworkFixture": Setting(states.numa_network),
    "NeutronQoSMultiSegmentFixture": Setting(states.network_segments),
    "NonSharedStorageFixture": Setting(states.storage_of_their_own),
    "OpenPolicyFixture": Setting(policy=OpenPolicy()),
    "SecureRBACPolicyFixture": Setting(policy=default_policy(enforce_new_defaults=True)),
    "SharedStorageFixture": Setting(states.shared_storage),
}
"""By the name under which a file asks for it."""


@cache
def content_of(path: Path) -> dict[str, Any]:
    """What a file says, read as gabbi does, but by the parser in C: the files take it a tenth of the time."""
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return content


class KeptPaths:
    """gabbi's parser of JSON paths, which builds its grammar anew for each path that it is given."""

    parse = staticmethod(cache(jsonhandler.json_parser.parse))


class Stage:
    """One prepared database without providers, and the application that a file plays against."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._application: WsgiApplication | None = None
        self._open = ExitStack()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The application. It is there only while a file is played."""
        assert self._application is not None
        # gabbi's transport gives the path as text, where WSGI has its bytes as Latin-1 (PEP 3333).
        environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
        return self._application(environ, start_response)

    def raise_curtain(self, setting: Setting) -> None:
        """Build state and application, and set the variables that the file reads."""
        with ExitStack() as stack:
            service = stack.enter_context(closing(Service(store_on(self._url))))
            variables = states.common_variables()
            variables.update(setting.state(service, variables))
            stack.enter_context(mock.patch.dict(os.environ, variables))
            conf = read_options(overrides={("cors", name): value for name, value in setting.cors.items()})
            self._application = with_cors(create(service, policy=setting.policy), conf)
            self._open = stack.pop_all()

    def lower_curtain(self) -> None:
        """Away with what ``raise_curtain`` made, except what is in the database."""
        self._application = None
        self._open.close()

    def fixtures(self) -> SimpleNamespace:
        """What gabbi takes for the module of a file's fixtures."""
        return SimpleNamespace(**{name: self._fixture(setting) for name, setting in SETTINGS.items()})

    def _fixture(self, setting: Setting) -> type[GabbiFixture]:
        stage = self

        class Fixture(GabbiFixture):  # type: ignore[misc]
            def start_fixture(self) -> None:
                stage.raise_curtain(setting)

            def stop_fixture(self) -> None:
                stage.lower_curtain()

        return Fixture

    def play(self, path: Path) -> Outcome:
        """Send all requests of a file, in its order."""
        content = deepcopy(content_of(path))
        suite = suitemaker.test_suite_from_dict(
            unittest.TestLoader(),
            path.stem,
            content,
            str(path.parent),
            HOST,
            None,
            self.fixtures(),
            lambda: self,
            handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
        )
        with mock.patch.object(jsonhandler, "json_parser", KeptPaths):
            result = suite.run(unittest.TestResult())
        return Outcome(
            asked=len(content["tests"]),
            answered=result.testsRun - len(result.skipped),
            wrong=[
                f"{test.shortDescription()}\n{trace}" for test, trace in (*result.failures, *result.errors)
            ],
        )


@dataclass(frozen=True)
class Outcome:
    """How many requests a file has, how many of them were sent, and what was wrong with the answers."""

    asked: int
    answered: int
    wrong: list[str]

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.client import Client, running_service


@pytest.fixture(scope="session")
def service_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a running service. Its tests share the account, so that they use names of their own."""
    folder = tmp_path_factory.mktemp("clients")
    with running_service(f"sqlite:///{folder / 'account.sqlite'}", folder) as port:
        yield port


@pytest.fixture(scope="session")
def endpoint(service_port: int) -> str:
    """URL of the service."""
    return f"http://127.0.0.1:{service_port}"


@pytest.fixture
def client(service_port: int) -> Iterator[Client]:
    """A connection to the service."""
    with Client(service_port) as connected:
        yield connected

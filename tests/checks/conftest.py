"""Servers that the tests of several checks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tbdiag.model import Credentials, Secret
from tbdiag.sandbox.authority import Authority
from tests.brokers import TOKEN, Mosquitto, mosquitto_path


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority.root()


@pytest.fixture(scope="session")
def mosquitto(root: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A mosquitto that knows one device: TOKEN as username, with a password."""
    if mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("mosquitto")
    with Mosquitto(folder, root, root.issue_server(), password="a-password") as broker:
        yield broker


@pytest.fixture
def mosquitto_device() -> Credentials:
    return Credentials(token=Secret(TOKEN), password=Secret("a-password"))

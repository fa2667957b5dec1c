"""A relay in a process of its own, and a home for each test."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.kit import Home, served

from mdk.testing import LocalRelay


@pytest.fixture(scope="session")
def relay_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`mdk relay`, ended by Ctrl-C."""
    home = Home(tmp_path_factory.mktemp("relay"), "")
    process = home.start("relay", "--json")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    yield str(json.loads(line)["url"])
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


@pytest.fixture
def home(tmp_path: Path, relay_url: str) -> Home:
    """A user without a keyring."""
    return Home(tmp_path, relay_url)


@pytest.fixture
def local() -> Iterator[LocalRelay]:
    """A relay of this test alone."""
    with served(LocalRelay()) as relay:
        yield relay

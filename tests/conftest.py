"""What holds for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# Whoever runs the tests in the background ignores Ctrl-C. What is ignored is inherited, also by programs that are
# interrupted here; what is caught is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)


@pytest.fixture(autouse=True)
def phones(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """With MDK_PHONES in the environment every account of a test is looked at as by a phone, in all of its processes.

    The accounts wait before they speak, as those of users do, and nothing that one of them says may be hidden or out of
    order.
    """
    if not os.environ.get("MDK_PHONES"):
        yield
        return
    if (mark := request.node.get_closest_marker("no_phone")) is not None:
        pytest.skip(mark.args[0])
    from tests.phones import ledger  # noqa: PLC0415  # it needs the extension

    folder = tmp_path_factory.mktemp("phones")
    ledger.install(folder, monkeypatch.setattr)
    for name, value in ledger.environment(folder).items():
        monkeypatch.setenv(name, value)
    yield
    assert ledger.judged(ledger.read(folder)) == []

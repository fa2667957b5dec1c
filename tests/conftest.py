"""What holds for all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from tests import sampling

ROOT = Path(__file__).parent.parent

# Whoever runs the tests in the background ignores Ctrl-C. What is ignored is inherited, also by programs that are
# interrupted here; what is caught is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the parameters that are not this commit's, unless somebody named a test."""
    if any("::" in argument for argument in config.args):
        return
    kept: list[pytest.Item] = []
    for (file, _), group in groupby(
        items, lambda item: (item.path, getattr(item, "originalname", ""))
    ):
        found = list(group)
        kept += [found[index] for index in sampling.share(str(file.relative_to(ROOT)), len(found))]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


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

"""What holds for all tests."""

from __future__ import annotations

import signal
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

"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest

# Whoever runs the tests in the background ignores Ctrl-C. What is ignored is inherited, also by programs that are
# interrupted here; what is caught is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share something made for their whole file go to one process; all others to whichever is free."""
    for item in items:
        fixtures = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009  (it is private)
        shared = {
            definition.baseid
            for definitions in fixtures.values()
            for definition in definitions
            if definition.scope in {"module", "class"}
        }
        if shared:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))

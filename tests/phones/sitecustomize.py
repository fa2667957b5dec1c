"""Python runs this first in each program of a test that is looked at as by phones: PYTHONPATH names its folder."""

from __future__ import annotations

import os
from pathlib import Path

from tests.phones import ledger

if folder := os.environ.get(ledger.VARIABLE):
    ledger.install(Path(folder), to_the_end=True)

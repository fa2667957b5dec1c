"""Programs of the engine alone are looked at as by phones, too: is what they say in order?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.phones import ledger

pytestmark = pytest.mark.no_phone("it looks at the looking")

SAYS = """
with me.create_group("Lunch", relays=["wss://relay.example"]) as pending:
    group = pending.confirm()
for part in range(10):
    me.create_message(group.id, f"part {part}")
"""
INSIDE = "".join(f"    {line}\n" for line in SAYS.splitlines())
PROGRAMS = {
    "with": f"with Mdk.in_memory() as me:\n{INSIDE}",
    "closed": f"me = Mdk.in_memory()\n{SAYS}\nme.close()",
    "left open": f"me = Mdk.in_memory()\n{SAYS}",
}
AS_BEFORE = """
def messages(of, *arguments, now=Mdk.messages, **named):
    found = now(of, *arguments, **named)
    return [replace(message, created_at=found[0].created_at) for message in found]
Mdk.messages = messages
"""
"""All in one second, as they were dated once: a phone sorts them by their random ids then."""


def notes(program: str, folder: Path) -> list[ledger.Record]:
    """What is written down of a program."""
    program = f"from dataclasses import replace\nfrom mdk import Mdk\n{program}"
    environment = {**os.environ, **ledger.environment(folder)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    return ledger.read(folder)


@pytest.mark.parametrize("ending", PROGRAMS)
def test_the_order_of_what_the_engine_says_is_looked_at(tmp_path: Path, ending: str) -> None:
    (tmp_path / "now").mkdir()
    (tmp_path / "before").mkdir()
    records = notes(PROGRAMS[ending], tmp_path / "now")
    assert [record["looked_at"] for record in records] == [10]
    assert ledger.judged(records) == []
    # The control: so it was before.
    found = ledger.judged(notes(AS_BEFORE + PROGRAMS[ending], tmp_path / "before"))
    assert found
    assert all(line.startswith("out of order: 'part ") for line in found)

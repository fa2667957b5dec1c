"""A child that was forked makes commits of its own: nothing in it waits for a thread that only the parent has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# The parent walks the path of a commit before it forks, so that whatever does that is there to be missed.
PROGRAM = """
import os, signal, sys
from mdk import Keys, Mdk

RELAYS = ["wss://relay.example"]

def commit():
    members = [Mdk.in_memory(Keys.generate()) for _ in range(int(sys.argv[1]))]
    packages = [member.new_key_package(relays=RELAYS) for member in members]
    account = Mdk.in_memory(Keys.generate())
    with account.create_group("Lunch", members=packages, relays=RELAYS) as pending:
        group = pending.confirm()
    with account.self_update(group.id) as pending:
        pending.confirm()
    return account.group(group.id).epoch

assert commit() == 2
child = os.fork()
if child == 0:
    signal.alarm(30)  # ends a child that hangs
    os._exit(40 + commit())
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("members", [3, 30])
def test_a_forked_child_makes_commits(members: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(members)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr

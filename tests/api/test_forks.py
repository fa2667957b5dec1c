"""`os.fork()` beside threads and from within a call: the child is refused at once, and waits for no lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def printed(script: str, *arguments: str) -> str:
    """What a program prints that must end in good order, and in time."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


BESIDE_THREADS = """
import os, signal, sys, threading
from mdk import DatabaseKey, Keys, Mdk, errors
folder, forks = sys.argv[1], int(sys.argv[2])
keys, key = Keys.generate(), DatabaseKey.raw(b"k" * 32)
ended = threading.Event()

def write(account, group):
    while not ended.is_set():
        account.create_message(group, "from a thread")

def open_and_close():
    while not ended.is_set():
        Mdk.open(f"{folder}/busy/mdk.db", keys=keys, key=key).close()

def in_memory():
    while not ended.is_set():
        Mdk.in_memory().close()

def opened(name):
    account = Mdk.open(f"{folder}/{name}/mdk.db", keys=keys, key=key)
    with account.create_group("Lunch", relays=["wss://relay.example"]) as pending:
        return account, pending.confirm().id

account, group = opened("parent")
threads = [threading.Thread(target=write, args=(account, group)) for _ in range(2)]
threads += [threading.Thread(target=what) for what in (open_and_close, in_memory, in_memory)]
for thread in threads:
    thread.start()
stuck = 0
for n in range(forks):
    child = os.fork()
    if child == 0:
        # Ends a child that waits for a lock, too.
        signal.alarm(90)
        code = 1
        try:
            opened(f"child-{n}")
        except errors.Forked:
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    stuck += os.waitstatus_to_exitcode(status) == -signal.SIGALRM
    if status != 0:
        break
ended.set()
for thread in threads:
    thread.join()
account.close()
print(f"{n + 1} forks, {stuck} stuck, the last child ended with {status}")
"""


def test_a_child_that_is_forked_beside_threads_is_refused_at_once(tmp_path: Path) -> None:
    forks = 15
    shown = printed(BESIDE_THREADS, str(tmp_path), str(forks))
    assert shown == f"{forks} forks, 0 stuck, the last child ended with 0\n"


IN_A_CALLBACK = """
import os, sys, threading
from mdk import DatabaseKey, Keys, Mdk, errors
key = DatabaseKey.raw(b"k" * 32)
account = Mdk.open(f"{sys.argv[1]}/a/mdk.db", keys=Keys.generate(), key=key)
with account.create_group("Lunch", relays=["wss://relay.example"]) as pending:
    group = pending.confirm()
ended = []

def step(progress):
    if ended:
        return
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (
            Mdk.in_memory,
            lambda: account.create_message(group.id, "from the child"),
            account.__enter__,
            pending.__enter__,
        ):
            try:
                call()
            except errors.Forked:
                refused += 1
        account.close()
        os._exit(refused)
    ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

assert account.verify(progress=step).ok
assert ended == [4], ended
# The call, the fork and what the child did have left nothing to wait for, and harmed nothing.
thread = threading.Thread(target=account.groups)
thread.start()
thread.join()
account.create_message(group.id, "from the parent")
assert [m.text for m in account.messages(group.id)] == ["from the parent"]
account.close()
print("done")
"""


def test_a_forked_child_is_refused_and_harmless_also_from_within_a_call(tmp_path: Path) -> None:
    assert printed(IN_A_CALLBACK, str(tmp_path)) == "done\n"


SHARED = """
import os, threading
from mdk import Mdk, errors
account = Mdk.in_memory()
reading, go_on = threading.Event(), threading.Event()

def slow():
    reading.set()
    go_on.wait()
    yield "{}"

outcomes = account.process_many(slow())
thread = threading.Thread(target=lambda: print(type(next(outcomes)).__name__))
thread.start()
reading.wait()
child = os.fork()
if child == 0:
    try:
        next(outcomes)
    except errors.Forked:
        del outcomes
        os._exit(41)
    os._exit(1)
ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
assert ended == 41, ended
"""


def test_a_child_does_not_wait_for_the_turn_of_a_thread_that_it_lacks() -> None:
    assert printed(SHARED) == "Rejected\n"


# The parent walks the path of a commit before it forks, so that whatever does that is there to be missed.
COMMITS = """
import os, signal
from mdk import Keys, Mdk

RELAYS = ["wss://relay.example"]

def commit(count):
    members = [Mdk.in_memory(Keys.generate()) for _ in range(count)]
    packages = [member.new_key_package(relays=RELAYS) for member in members]
    account = Mdk.in_memory(Keys.generate())
    with account.create_group("Lunch", members=packages, relays=RELAYS) as pending:
        group = pending.confirm()
    with account.self_update(group.id) as pending:
        pending.confirm()
    return account.group(group.id).epoch

# A large group is worked on by all cores, a small one by its thread.
assert commit(3) == commit(30) == 2
child = os.fork()
if child == 0:
    signal.alarm(90)  # ends a child that hangs
    os._exit(40 + commit(3) + commit(30))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_makes_commits_of_its_own() -> None:
    """Nothing in it waits for a thread that only the parent has."""
    assert printed(COMMITS) == "44\n"

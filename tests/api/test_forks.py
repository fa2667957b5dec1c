"""`os.fork()` beside threads, from within a call, and between hooks of others: the child gets no lock that is held."""

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
from mdk import DatabaseKey, Keys, Mdk
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
            mine, group = opened(f"child-{n}")
            mine.create_message(group, "from the child")
            mine.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == -signal.SIGALRM:
        stuck += 1
        break
    assert status == 0, status
ended.set()
for thread in threads:
    thread.join()
account.close()
print(f"{n + 1} forks, {stuck} stuck")
"""


def test_a_fork_waits_until_nobody_holds_a_lock_of_the_engine(tmp_path: Path) -> None:
    forks = 30
    shown = printed(BESIDE_THREADS, str(tmp_path), str(forks))
    assert shown == f"{forks} forks, 0 stuck\n"


# Whoever is armed keeps a lock a little longer than he would.
SLOW = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>
static __thread int armed;
void arm(void) { armed = 1; }
int pthread_rwlock_unlock(pthread_rwlock_t *lock) {
    static int (*unlock)(pthread_rwlock_t *);
    if (!unlock) unlock = (int (*)(pthread_rwlock_t *))dlsym(RTLD_NEXT, "pthread_rwlock_unlock");
    if (armed) nanosleep(&(struct timespec){0, 50000000}, 0);
    return unlock(lock);
}
"""

BEHIND_A_THREAD = """
import ctypes, os, signal, sys, threading
from mdk import DatabaseKey, Keys, Mdk
folder, slow = sys.argv[1:]

def use(name):
    key = DatabaseKey.raw(b"k" * 32)
    with Mdk.open(f"{folder}/{name}/mdk.db", keys=Keys.generate(), key=key) as account:
        account.create_group("Lunch", relays=["wss://relay.example"]).confirm()

def use_and_end():
    use("parent")
    ctypes.CDLL(slow).arm()

# Python says that a thread has ended a little before the system does.
thread = threading.Thread(target=use_and_end)
thread.start()
thread.join()
children = []
for n in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(90)
        use(f"child-{n}")
        os._exit(0)
    children.append(child)
print(f"{sum(os.waitpid(child, 0)[1] != 0 for child in children)} stuck")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library")
def test_a_fork_behind_a_thread_that_has_just_ended_leaves_no_lock_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, slow = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", slow, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(slow))
    assert printed(BEHIND_A_THREAD, str(tmp_path), str(slow)) == "0 stuck\n"


BESIDE_READERS = """
import os, signal, sys, threading
from pathlib import Path
from mdk import DatabaseKey, Keys, Mdk
from mdk._mdk import _read_file
picture, forks = Path(sys.argv[1]) / "picture", int(sys.argv[2])
picture.write_bytes(b"not a database")
ended = threading.Event()

def read():
    while not ended.is_set():
        _read_file(picture, 100)

threads = [threading.Thread(target=read) for _ in range(3)]
for thread in threads:
    thread.start()
stuck = 0
for n in range(forks):
    child = os.fork()
    if child == 0:
        signal.alarm(90)
        key = DatabaseKey.raw(b"k" * 32)
        Mdk.open(f"{sys.argv[1]}/child-{n}/mdk.db", keys=Keys.generate(), key=key).close()
        os._exit(0)
    stuck = os.waitpid(child, 0)[1] != 0
    if stuck:
        break
ended.set()
for thread in threads:
    thread.join()
print(f"{n + 1} forks, {stuck:d} stuck")
"""


def test_a_fork_beside_who_reads_files_leaves_no_lock_held(tmp_path: Path) -> None:
    assert printed(BESIDE_READERS, str(tmp_path), "40") == "40 forks, 0 stuck\n"


IN_A_CALLBACK = """
import os, sys, threading, time
from mdk import DatabaseKey, Keys, Mdk, errors
key = DatabaseKey.raw(b"k" * 32)
account = Mdk.open(f"{sys.argv[1]}/a/mdk.db", keys=Keys.generate(), key=key)
forks, took = int(sys.argv[2]), []

def fork(name):
    begun = time.monotonic()
    for n in range(forks):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                # Its own account, and a fork of its own.
                path = f"{sys.argv[1]}/{name}-{n}/mdk.db"
                other = Mdk.open(path, keys=Keys.generate(), key=key)
                grandchild = os.fork()
                if grandchild == 0:
                    Mdk.in_memory().close()
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
                other.close()
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    return time.monotonic() - begun

def step(progress):
    if not took:
        took.append(fork("inside"))

# What this machine needs where nothing can be waited for. A fork that waits does so for three seconds.
outside = fork("outside")
most = 2 * outside + forks * 3 / 2
assert account.verify(progress=step).ok
assert took[0] < most, (outside, took)
# Nothing of it is left: neither a thread nor a fork has anything to wait for.
thread = threading.Thread(target=account.groups)
thread.start()
thread.join()
assert fork("behind") < most, outside
account.close()
print("done")
"""


def test_a_fork_does_not_wait_for_the_call_that_it_is_made_in(tmp_path: Path) -> None:
    assert printed(IN_A_CALLBACK, str(tmp_path), "10") == "done\n"


WAITED_FOR = """
import os, threading

def call():
    thread = threading.Thread(target=lambda: [account.groups() for account in accounts])
    thread.start()
    thread.join()

# The hook that was registered first runs last.
os.register_at_fork(before=call)
from mdk import Mdk
accounts = [Mdk.in_memory()]
child = os.fork()
if child == 0:
    Mdk.in_memory().close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(accounts[0].groups())
"""


def test_a_call_that_a_fork_waits_for_is_let_in_after_a_while() -> None:
    assert printed(WAITED_FOR) == "[]\n"


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

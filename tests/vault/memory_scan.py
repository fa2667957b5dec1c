"""Looks for bytes in the memory of another process, by its `/proc` files; and a child process to look into."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
# The kernel's own pages in every process; they cannot be read this way and hold nothing of it.
UNREADABLE = {"[vvar]", "[vvar_vclock]", "[vsyscall]"}


@dataclass(frozen=True)
class Area:
    """One mapping of a process, with the flags of its smaps entry."""

    start: int
    end: int
    name: str
    flags: frozenset[str]

    @property
    def locked(self) -> bool:
        return "lo" in self.flags

    @property
    def dumped(self) -> bool:
        return "dd" not in self.flags


@dataclass(frozen=True)
class Hit:
    """Where something was found."""

    needle: str
    address: int
    area: Area


def areas(pid: int) -> list[Area]:
    """The readable mappings of a process."""
    found: list[Area] = []
    head: tuple[int, int, str] | None = None
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ([r-])\S+ \S+ \S+ \S+ *(.*)$", line):
            start, end, readable, name = match.groups()
            head = (int(start, 16), int(end, 16), name) if readable == "r" else None
        elif head is not None and line.startswith("VmFlags:"):
            if head[2] not in UNREADABLE:
                found.append(Area(*head, frozenset(line.split()[1:])))
            head = None
    return found


def forms(name: str, secret: bytes) -> dict[str, bytes]:
    """A secret as it may lie in memory: raw, hex, base64; both halves of each, so that a torn copy is found too."""
    texts = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "base64": base64.b64encode(secret)[:40],
    }
    halves: dict[str, bytes] = {}
    for form, text in texts.items():
        middle = len(text) // 2
        halves[f"{name}, {form}, 1st half"] = text[:middle]
        halves[f"{name}, {form}, 2nd half"] = text[middle:]
    return halves


def torn(name: str, secret: bytes) -> dict[str, bytes]:
    """Any eight bytes of a secret, also as they go into an HMAC: what is left of copies by way of registers."""
    masks = {"raw": 0, "inner": 0x36, "outer": 0x5C}
    return {
        f"{name}, {form}, from byte {at}": bytes(byte ^ mask for byte in secret[at : at + 8])
        for form, mask in masks.items()
        for at in range(len(secret) - 7)
    }


def system_call(pid: int) -> list[str]:
    """Of a main thread that waits in one: its number, six arguments, the pointers to stack and code; else less."""
    return Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()


def below_the_stack(pid: int) -> bytes:
    """What lies below the stack of a stopped main thread: what calls have left that have returned."""
    at = int(system_call(pid)[7], 16)
    (stack,) = (area for area in areas(pid) if area.start <= at < area.end)
    return read(pid, stack.start, at - stack.start)


def read(pid: int, start: int, size: int) -> bytes:
    """The memory of a stopped process."""
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        memory.seek(start)
        return memory.read(size)


def kind(needle: str) -> str:
    """`signature key 3, late` is a signature key."""
    return needle.partition(",")[0].rstrip(" 0123456789")


def listing(hits: list[Hit]) -> str:
    counts = Counter((hit.needle, hit.area.name, hit.area.locked) for hit in hits)
    return "\n".join(f"{n} × {found}" for found, n in counts.most_common(40))


@cache
def compiled() -> bytes:
    """The scanner's program; one compilation serves a whole process."""
    with tempfile.TemporaryDirectory(prefix="mdk-scan-") as folder:
        program = Path(folder) / "scan"
        subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "scan.c")], check=True)
        return program.read_bytes()


class Scanner:
    """The compiled scanner. `folder` is for what it looks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "scan"
        self.program.write_bytes(compiled())
        self.program.chmod(0o700)

    def scan(self, pid: int, needles: Mapping[str, bytes]) -> list[Hit]:
        """Every occurrence of every needle. The process should be stopped, or it may be missed between two pages."""
        names = list(needles)
        listed = self.folder / "needles"
        listed.write_text("".join(f"{needles[name].hex()}\n" for name in names))
        where = areas(pid)
        done = subprocess.run(
            [str(self.program), str(pid), str(listed)],
            input="".join(f"{area.start:x} {area.end:x}\n" for area in where),
            capture_output=True,
            text=True,
            check=True,
        )
        starts = [area.start for area in where]
        hits = []
        for line in done.stdout.splitlines():
            index, address = line.split()
            at = int(address, 16)
            hits.append(Hit(names[int(index)], at, where[bisect_right(starts, at) - 1]))
        return hits


class Child:
    """A fresh interpreter that runs `memory_child.py` and does one command after the other."""

    def __init__(self, *folders: Path, dumps: bool = False, preload: Path | None = None) -> None:
        command = [sys.executable, str(HERE / "memory_child.py"), *map(str, folders)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        if preload is not None:
            environment["LD_PRELOAD"] = str(preload)
        self.process = subprocess.Popen(
            ["bash", "-c", 'ulimit -c unlimited; exec "$@"', "bash", *command]
            if dumps
            else command,
            cwd=folders[0],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.expect("ready")

    @property
    def pid(self) -> int:
        return self.process.pid

    def expect(self, answer: str) -> None:
        line = self.hear()
        assert line == answer, f"the child said {line!r} instead of {answer!r}"

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, *commands: str) -> None:
        for command in commands:
            self.tell(command)
            self.expect("done")

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def stop(self, *, at_work: bool = False) -> None:
        """Stops every thread and waits until it has happened: where it reads what comes next, or `at_work` anywhere."""
        # It has answered a little before it reads on; until then its main thread's stack is not what it left behind.
        deadline = time.monotonic() + 60
        while not at_work and not self._reads():
            assert time.monotonic() < deadline, "the child does not read on"
            time.sleep(0.001)
        os.kill(self.pid, signal.SIGSTOP)
        while self._states() != {"T"}:
            assert time.monotonic() < deadline, "the child does not stop"
            time.sleep(0.001)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def look(self, scanner: Scanner, needles: Mapping[str, bytes]) -> list[Hit]:
        """What is found in it while it stands still."""
        self.stop()
        found = scanner.scan(self.pid, needles)
        self.resume()
        return found

    def _reads(self) -> bool:
        # A call whose first argument is 0, the standard input: it waits for nothing else that has such a one.
        call = system_call(self.pid)
        return len(call) > 7 and int(call[1], 16) == 0

    def _states(self) -> set[str]:
        """Of its threads."""
        found = set()
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                status = (task / "stat").read_text(encoding="utf-8")
                found.add(status.rpartition(")")[2].split()[0])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

"""A model of power loss over the recorded calls of a process.

What was synced is on the disk. Of what was not, each sector of 512 bytes or 4 KiB may or may not be, in any order; a
file may have its old length; a new name, a rename or a removal that no sync of its directory followed may or may not
have happened. A schedule is a moment and a seed; from it the directory is built as the disk would show it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from . import life
from .kill import Bench, Tally, examine
from .life_plan import plan
from .operation import Operation
from .operations import all_operations
from .runner import Run
from .shim import Record, read_log
from .world import Broken, Place

T = TypeVar("T")
SECTORS = (512, 4096)


@dataclass
class Change:
    """One change of a file: bytes at an offset, or a new length."""

    offset: int
    data: bytes | None

    def pieces(self, sector: int) -> Iterator[Change]:
        if self.data is None:
            yield self
            return
        at = 0
        while at < len(self.data):
            end = min(len(self.data), (self.offset + at) // sector * sector + sector - self.offset)
            yield Change(self.offset + at, self.data[at:end])
            at = end

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            if self.offset < len(content):
                del content[self.offset :]
            else:
                content.extend(bytes(self.offset - len(content)))
            return
        if self.offset > len(content):
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data


@dataclass(eq=False)
class File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            change.apply(self.durable)
        self.pending.clear()


# A change of a directory: names that go to nodes, or to nothing.
Names = dict[str, "Node | None"]


@dataclass(eq=False)
class Directory:
    live: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    pending: list[Names] = field(default_factory=list)

    def change(self, names: Names) -> None:
        _rename(self.live, names)
        self.pending.append(names)

    def sync(self) -> None:
        self.durable = dict(self.live)
        self.pending.clear()


Node = File | Directory


def _rename(names: dict[str, Node], change: Names) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """The directory under test as the disk has it, and what the disk may still owe."""

    def __init__(self, image: Path, live: Path, inodes: dict[str, int]) -> None:
        """`image` is an untouched copy of `live`, whose files had these inodes in the beginning."""
        self.live = live.resolve()
        self._inodes: dict[int, File] = {}
        self.root = self._load(image, image, inodes)

    def _load(self, image: Path, at: Path, inodes: dict[str, int]) -> Directory:
        directory = Directory()
        for path in sorted(at.iterdir()):
            if path.is_dir():
                directory.live[path.name] = self._load(image, path, inodes)
            else:
                file = File(bytearray(path.read_bytes()))
                directory.live[path.name] = file
                self._inodes[inodes[path.relative_to(image).as_posix()]] = file
        directory.sync()
        return directory

    def _parts(self, path: str) -> tuple[Directory, str]:
        parts = PurePosixPath(path).relative_to(self.live.as_posix()).parts
        node = self.root
        for part in parts[:-1]:
            below = node.live[part]
            assert isinstance(below, Directory)
            node = below
        return node, parts[-1] if parts else ""

    def _file(self, record: Record) -> File:
        return self._inodes[record.inode]

    def apply(self, record: Record) -> None:
        """Takes one recorded call."""
        if record.result < 0 or record.call in {"mark", "open", "read", "chmod"}:
            return
        match record.call:
            case "create":
                directory, name = self._parts(record.first)
                if record.created:
                    file = File()
                    self._inodes[record.inode] = file
                    directory.change({name: file})
                elif record.length & os.O_TRUNC:
                    self._file(record).pending.append(Change(0, None))
            case "mkdir":
                directory, name = self._parts(record.first)
                directory.change({name: Directory()})
            case "write" | "pwrite":
                self._file(record).pending.append(Change(record.offset, record.data))
            case "ftruncate":
                self._file(record).pending.append(Change(record.length, None))
            case "fallocate":
                if record.offset + record.length > record.size:
                    change = Change(record.offset + record.length, None)
                    self._file(record).pending.append(change)
            case "fsync" | "fdatasync":
                directory, name = self._parts(record.first)
                synced = directory.live.get(name) if name else directory
                if not isinstance(synced, Directory):
                    synced = self._file(record)
                synced.sync()
            case "rename" | "exchange" | "link":
                self._rename(record)
            case "unlink" | "rmdir":
                directory, name = self._parts(record.first)
                directory.change({name: None})
            case other:
                raise AssertionError(other)

    def _rename(self, record: Record) -> None:
        source, old = self._parts(record.first)
        target, new = self._parts(record.second)
        moved = source.live[old]
        left = {"rename": None, "exchange": target.live.get(new), "link": moved}[record.call]
        if source is target:
            source.change({old: left, new: moved})
        else:
            target.change({new: moved})
            source.change({old: left})

    def crash(self, rng: random.Random, to: Path) -> None:
        """Builds the directory as it may be found after the power came back."""
        manner = rng.choice(["none", "all", "prefix", "prefix", "any", "any", "any", "any"])
        keep = rng.choice([0.1, 0.5, 0.9])
        sector = rng.choice(SECTORS)
        self._build(self.root, to, rng, manner, keep, sector)

    def _build(
        self,
        directory: Directory,
        to: Path,
        rng: random.Random,
        manner: str,
        keep: float,
        sector: int,
    ) -> None:
        to.mkdir(mode=0o700)
        names = dict(directory.durable)
        for change in _survivors(directory.pending, rng, manner, keep):
            _rename(names, change)
        for name, node in names.items():
            if isinstance(node, Directory):
                self._build(node, to / name, rng, manner, keep, sector)
                continue
            content = bytearray(node.durable)
            pieces = [p for change in node.pending for p in change.pieces(sector)]
            for piece in _survivors(pieces, rng, manner, keep):
                piece.apply(content)
            (to / name).write_bytes(content)
            (to / name).chmod(0o600)


def _survivors(owed: list[T], rng: random.Random, manner: str, keep: float) -> list[T]:
    match manner:
        case "none":
            return []
        case "all":
            return owed
        case "prefix":
            return owed[: rng.randint(0, len(owed))]
        case _:
            return [change for change in owed if rng.random() < keep]


# ------------------------------------------------------------------ schedules


@dataclass
class Recording:
    """The calls of one process from a known beginning, all of which was on the disk."""

    start: Place
    live: Path
    inodes: dict[str, int]
    records: list[Record]

    def marks(self, upto: int) -> list[str]:
        return [r.data.decode() for r in self.records[:upto] if r.call == "mark"]

    def moments(self) -> range:
        """Between which calls the power may go."""
        first = next((n for n, r in enumerate(self.records) if r.data == b"begin"), 0)
        return range(first + 1, len(self.records) + 1)

    def crashed(self, moment: int, rng: random.Random) -> Place:
        """What the disk shows after that many calls, at the path where the process worked: records name paths."""
        to = self.live.parent
        disk = Disk(self.start.watched, self.live, self.inodes)
        for record in self.records[:moment]:
            disk.apply(record)
        shutil.rmtree(to)
        to.mkdir()
        shutil.copytree(self.start.root / "aside", to / "aside")
        shutil.copy(self.start.root / "facts.json", to / "facts.json")
        place = Place(to)
        disk.crash(rng, place.watched)
        return place


def numbers(root: Path) -> dict[str, int]:
    """The inode of every file below `root`, by its path."""
    return {p.relative_to(root).as_posix(): p.stat().st_ino for p in root.rglob("*")}


def record_operation(stand: Bench, operation: Operation) -> Recording:
    """An undisturbed run of an operation, from the opening of the account on."""
    start, _, _ = stand.ready(operation)
    live = start.copy(stand.run)
    log = stand.root / f"{operation.name}.log"
    log.unlink(missing_ok=True)
    inodes = numbers(live.watched)
    run = stand.zygote.operation(operation.name, live.root, log=log, record_all=True)
    assert run.acknowledged, f"{operation.name}: {run}"
    return Recording(start, live.watched, inodes, list(read_log(log)))


def operation_schedule(
    stand: Bench, operation: Operation, recording: Recording, rng: random.Random
) -> Tally:
    """One loss of power in or after one operation."""
    tally = Tally(runs=1)
    _, control, _ = stand.ready(operation)
    moment = rng.choice(recording.moments())
    place = recording.crashed(moment, rng)
    run = Run(acknowledged="end" in recording.marks(moment))
    examine(operation, place, run, control, tally, f"{operation.name} after call {moment}")
    return tally


def record_life(stand: Bench, seed: int) -> tuple[Recording, life.Life]:
    """A whole life without a kill: calls over the whole API."""
    live = stand.world.copy(stand.run)
    life.begin(live)
    steps = plan(live, random.Random(f"life {seed}"))
    place = live.copy(stand.root / f"life-{seed}")
    lived = life.lived(live, steps)
    place.copy(live.root)
    log = stand.root / f"life-{seed}.log"
    log.unlink(missing_ok=True)
    inodes = numbers(live.watched)
    said = stand.zygote.life(live.root, steps, None, log)
    assert said[-1]["exit"] == 0, said[-3:]
    return Recording(place, live.watched, inodes, list(read_log(log))), lived


def life_schedule(recorded: tuple[Recording, life.Life], rng: random.Random) -> Tally:
    """One loss of power in one life."""
    tally = Tally(runs=1)
    recording, lived = recorded
    moment = rng.choice(recording.moments())
    place = recording.crashed(moment, rng)
    heard = life.sort_out(lived.steps, [json.loads(mark) for mark in recording.marks(moment)])
    at = f"{recording.start.root.name} after call {moment}, in {heard.flight}"
    try:
        life.judge(place, lived, heard)
    except Broken as broken:
        tally.fail(broken.kind, at, str(broken))
    except Exception as error:  # noqa: BLE001
        tally.fail("broken", at, f"{type(error).__name__}: {error}")
    return tally


def run(stand: Bench, schedules: int, *, lives: int, seed: int = 0) -> dict[str, Tally]:
    """That many schedules, half of them in lives, half in single operations."""
    rng = random.Random(f"power {seed}")
    tallies: dict[str, Tally] = {}
    operations = all_operations()
    rng.shuffle(operations)
    # As many as get a schedule: to record one takes longer than a loss of power.
    del operations[(schedules + 1) // 2 :]
    recordings = {o.name: record_operation(stand, o) for o in operations}
    recorded = [record_life(stand, seed * 1000 + n) for n in range(lives)]
    for n in range(schedules):
        if n % 2:
            name, tally = "life", life_schedule(recorded[n // 2 % lives], rng)
        else:
            operation = operations[n // 2 % len(operations)]
            name = operation.name
            tally = operation_schedule(stand, operation, recordings[name], rng)
        tallies.setdefault(name, Tally()).add(tally)
    return tallies

"""Loss of power: what was not synced may be gone, out of order or torn. Some schedules; `make torture` runs 500."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests import sampling
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import power
from tests.vault.torture.kill import Bench
from tests.vault.torture.operations import by_name
from tests.vault.torture.power import Change, Disk, numbers
from tests.vault.torture.shim import Kind, Record

pytestmark = NEEDS_SHIM


# proves: R3
def test_the_power_goes_and_nothing_that_was_acknowledged(stand: Bench) -> None:
    schedules = sampling.count("power_schedules")
    tallies = power.run(stand, schedules, lives=1, seed=sampling.first_seed())
    failures = [failure for tally in tallies.values() for failure in tally.failures]
    assert not failures, "\n".join(failures)
    assert sum(tally.runs for tally in tallies.values()) == schedules


# proves: R3
def test_without_syncs_the_model_finds_what_is_lost(stand: Bench) -> None:
    """The same record with its syncs taken out: the model has to find fault with it, or it would prove nothing."""
    operation = by_name("receive")
    recording = power.record_operation(stand, operation)
    reckless = replace(recording, records=[r for r in recording.records if r.kind is not Kind.SYNC])
    # Acknowledged, then the power goes.
    moment = next(n for n, r in enumerate(reckless.records, 1) if r.data == b"end")
    rng = random.Random(5)
    bad = 0
    for _ in range(8):
        place = reckless.crashed(moment, rng)
        try:
            operation.check(place, acknowledged=True)
        except AssertionError:
            bad += 1
    assert bad >= 4


# ------------------------------------------------------------------ the model itself


def call(
    name: str, path: Path, *, inode: int = 0, to: Path | None = None, **more: object
) -> Record:
    blank = Record(name, Kind(0), inode, 0, 0, 0, 0, False, str(path), str(to or ""), b"")
    return replace(blank, **more)  # type: ignore[arg-type]


def crashes(disk: Disk, tmp_path: Path) -> list[dict[str, bytes]]:
    """Every directory that a hundred losses of power leave."""
    seen: list[dict[str, bytes]] = []
    for seed in range(100):
        to = tmp_path / "crashed"
        shutil.rmtree(to, ignore_errors=True)
        disk.crash(random.Random(seed), to)
        found = {p.name: p.read_bytes() for p in to.iterdir()}
        if found not in seen:
            seen.append(found)
    return seen


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    image = tmp_path / "image"
    image.mkdir()
    (image / "old").write_bytes(b"o" * 8192)
    return Disk(image, image, numbers(image))


def test_what_was_synced_stays(disk: Disk, tmp_path: Path) -> None:
    root = disk.live
    disk.apply(call("create", root / "new", inode=7, created=True))
    disk.apply(call("pwrite", root / "new", inode=7, data=b"n" * 10))
    disk.apply(call("fsync", root / "new", inode=7))
    disk.apply(call("fsync", root))
    assert crashes(disk, tmp_path) == [{"old": b"o" * 8192, "new": b"n" * 10}]


def test_a_new_name_needs_a_sync_of_its_directory(disk: Disk, tmp_path: Path) -> None:
    root = disk.live
    disk.apply(call("create", root / "new", inode=7, created=True))
    disk.apply(call("pwrite", root / "new", inode=7, data=b"n"))
    disk.apply(call("fsync", root / "new", inode=7))
    disk.apply(call("rename", root / "new", to=root / "old"))
    found = crashes(disk, tmp_path)
    assert {"old": b"o" * 8192} in found
    assert {"old": b"n"} in found
    assert {"old": b"o" * 8192, "new": b"n"} in found
    disk.apply(call("fsync", root))
    assert crashes(disk, tmp_path) == [{"old": b"n"}]


def test_unsynced_writes_are_torn_and_reordered(disk: Disk, tmp_path: Path) -> None:
    root = disk.live
    disk.apply(call("pwrite", root / "old", inode=(root / "old").stat().st_ino, data=b"x" * 8192))
    shapes = {bytes(f["old"][n] for n in range(0, 8192, 512)) for f in crashes(disk, tmp_path)}
    assert b"o" * 16 in shapes
    assert b"x" * 16 in shapes
    assert b"x" * 8 + b"o" * 8 in shapes
    assert any(shape.startswith(b"o") and b"x" in shape for shape in shapes), "out of order"
    assert any(shape[:8] not in {b"o" * 8, b"x" * 8} for shape in shapes), "torn inside a page"


def test_pieces_are_whole_sectors() -> None:
    pieces = list(Change(500, b"a" * 600).pieces(512))
    assert [(p.offset, len(p.data or b"")) for p in pieces] == [(500, 12), (512, 512), (1024, 76)]

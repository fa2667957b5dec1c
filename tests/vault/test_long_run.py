"""Many threads on one account, and many messages in one life. Samples; `make torture` runs the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.vault.torture import soak, threads

# Of two open databases; see cache_size in crates/mdk-store/src/ritual.rs.
CACHES = 2 * 8 << 20


# proves: R8
@pytest.mark.filterwarnings("ignore:record_property is incompatible")
@pytest.mark.timeout(180)
def test_eight_threads_lose_nothing_and_all_come_to_their_end(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    waits = threads.run(tmp_path.resolve() / "world", 150)
    record_property(
        "ms that a reader waited at most while four threads wrote, 99 % of 600 reads",
        round(1000 * waits.longest_read(0.99)),
    )


# proves: R15
@pytest.mark.timeout(180)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_log_and_file_stay_within_bounds(tmp_path: Path) -> None:
    samples = soak.run(tmp_path.resolve() / "world", 3000)
    grown = soak.growth(samples)
    assert grown["log"] <= soak.BOUNDS["log"]
    assert grown["file"] <= soak.BOUNDS["file"], samples
    # A life so short still fills its caches.
    quarter, last = samples[len(samples) // 4], samples[-1]
    assert last.memory <= 1.05 * quarter.memory + CACHES, samples

"""What operations on a whole database report. Frozen values; none of them holds content, keys or URLs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias, final

from .shown import Shown
from .values import GroupId

__all__ = [
    "BackupReport",
    "DatabaseRekeyReport",
    "DoctorReport",
    "EncryptReport",
    "Finding",
    "Level",
    "Progress",
    "ProgressCallback",
    "RestoreReport",
    "SalvageReport",
    "VerifyReport",
]


@final
@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: `done` of `total` bytes of its `stage`; of `doctor()`, parts of its report.

    Stages may come in any order, and more than once.
    """

    stage: Literal["deriving", "checking", "writing", "comparing", "wiping"]
    done: int
    total: int
    """0 if it is not known."""


ProgressCallback: TypeAlias = Callable[[Progress], object]
"""Called now and then from the thread of the operation. An exception in it cancels the operation and is passed on;
behind the point where nothing can be undone any more, the operation is finished first. It must not use the object whose
call it belongs to."""


@final
@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verify() found."""

    pages: int
    """Pages in the file."""
    bad_pages: tuple[int, ...]
    """Numbers, from 1, of the pages that fail their authentication, ascending; the first 1,000."""
    bad_page_count: int
    log_pages: int
    """Pages that were judged by a newer version in the write-ahead log."""
    structure: tuple[str, ...]
    """What SQLite says about the structure, and that a cut-off encryption has left a plain copy; the first 100."""
    logic: tuple[str, ...]
    """What does not fit together in groups and messages; the first 100."""
    remarks: tuple[str, ...] = ()
    """What is no fault, and may hide one: the last transaction in the write-ahead log does not count, because it is
    damaged or was never finished. A process that is killed while it writes leaves that, and so does damage to what it
    had written. `ok` does not ask for it."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.bad_page_count == 0 and not self.structure and not self.logic

    @property
    def problems(self) -> list[str]:
        """One sentence for each thing that is wrong."""
        pages = [f"page {number} fails its authentication" for number in self.bad_pages]
        if self.bad_page_count > len(self.bad_pages):
            pages.append(f"{self.bad_page_count - len(self.bad_pages)} more pages fail theirs")
        return [*pages, *self.structure, *self.logic]


@final
@dataclass(frozen=True, slots=True)
class DatabaseRekeyReport:
    """What rekey() did."""

    bytes: int
    """Bytes that were encrypted anew."""
    old_key_kept: bool = False
    """The old key is still where it was kept, because another database may need it: this one is a copy of it, or was
    brought back or moved from another disk. If there is no other one, remove the old key yourself."""


@final
@dataclass(frozen=True, slots=True)
class BackupReport:
    """What backup() wrote."""

    bytes: int
    """Size of the file."""
    rows: int
    """Rows in it, of all tables."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class RestoreReport(Shown):
    """What restore() brought back."""

    groups: tuple[GroupId, ...]
    must_update: tuple[GroupId, ...]
    """Groups where messages raise SelfUpdateRequired until self_update() is confirmed."""
    created_at: datetime
    """When the backup was made, UTC."""
    rows: int
    """Rows that were brought back, of all tables."""


@final
@dataclass(frozen=True, slots=True)
class EncryptReport:
    """What encrypt_existing() did."""

    tables: int
    """Tables that were compared."""
    rows: int
    """Rows that were compared."""
    bytes: int
    """Bytes that were written."""


@final
@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What salvage() saved, and what is missing."""

    bad_pages: int
    """Pages that could not be read."""
    saved: Mapping[str, int]
    """Rows that were saved, by table."""
    missing: tuple[str, ...]
    """What is missing, one sentence each."""


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    """As it should be."""
    NOTE = "note"
    """Worth knowing."""
    WARNING = "warning"
    """Works, but should be changed."""
    ERROR = "error"
    """Does not work."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a DoctorReport."""

    level: Level
    topic: str
    """A stable word: directory, database, key, lock, clock and so on."""
    text: str
    hint: str | None
    """What to do about it."""


@final
@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What doctor() found, in a fixed order of topics."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """The exit code of `mdk doctor`: 0 if all is well, 1 with a warning, 2 with an error."""
        levels = {finding.level for finding in self.findings}
        return 2 if Level.ERROR in levels else 1 if Level.WARNING in levels else 0

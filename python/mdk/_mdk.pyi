# Types of the compiled half. The documentation is in the extension: help(mdk.Mdk).
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, NoReturn, Self, TypeAlias, final

from .config import Config
from .events import Event
from .outcomes import Outcome
from .reports import (
    BackupReport,
    DoctorReport,
    EncryptReport,
    ProgressCallback,
    RekeyReport,
    RestoreReport,
    SalvageReport,
    VerifyReport,
)
from .values import (
    EventId,
    Filter,
    GroupId,
    GroupInfo,
    GroupState,
    Invite,
    KeyPackage,
    KeyPackageVerdict,
    KeyringStoreName,
    Member,
    Message,
    Outgoing,
    PathArg,
    PublicKeyLike,
    StoreInfo,
)

__all__ = [
    "Clock",
    "DatabaseKey",
    "EventIterator",
    "Keys",
    "Mdk",
    "OutcomeIterator",
    "PendingCommit",
    "PublicKey",
    "SignedEvent",
    "__version__",
    "_error_classes",
    "_panic",
    "backup",
    "doctor",
    "encrypt_existing",
    "rekey",
    "restore",
    "salvage",
    "verify",
]

__version__: Final[str]

def _error_classes() -> list[str]: ...
def _panic(mdk: Mdk) -> NoReturn: ...

_Buffer: TypeAlias = bytes | bytearray | memoryview
_Passphrase: TypeAlias = str | bytes | bytearray | memoryview

def verify(
    path: PathArg, *, key: DatabaseKey | None = None, progress: ProgressCallback | None = None
) -> VerifyReport: ...
def rekey(
    path: PathArg,
    to: DatabaseKey | None = None,
    *,
    key: DatabaseKey | None = None,
    progress: ProgressCallback | None = None,
) -> RekeyReport: ...
def backup(
    path: PathArg,
    to: PathArg,
    *,
    passphrase: _Passphrase,
    key: DatabaseKey | None = None,
    progress: ProgressCallback | None = None,
) -> BackupReport: ...
def restore(
    backup: PathArg,
    path: PathArg,
    *,
    passphrase: _Passphrase,
    key: DatabaseKey | None = None,
    progress: ProgressCallback | None = None,
) -> RestoreReport: ...
def encrypt_existing(
    path: PathArg,
    *,
    key: DatabaseKey | None = None,
    to: PathArg | None = None,
    from_key: DatabaseKey | None = None,
    progress: ProgressCallback | None = None,
) -> EncryptReport: ...
def salvage(
    path: PathArg,
    to: PathArg,
    *,
    key: DatabaseKey | None = None,
    to_key: DatabaseKey | None = None,
    progress: ProgressCallback | None = None,
) -> SalvageReport: ...
def doctor(path: PathArg, *, key: DatabaseKey | None = None) -> DoctorReport: ...

@final
class PublicKey:
    @staticmethod
    def parse(value: str) -> PublicKey: ...
    @property
    def hex(self) -> str: ...
    @property
    def npub(self) -> str: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __lt__(self, other: PublicKey, /) -> bool: ...
    def __le__(self, other: PublicKey, /) -> bool: ...
    def __gt__(self, other: PublicKey, /) -> bool: ...
    def __ge__(self, other: PublicKey, /) -> bool: ...

@final
class Keys:
    @staticmethod
    def generate() -> Keys: ...
    @staticmethod
    def parse(secret: str, password: str | None = None) -> Keys: ...
    @staticmethod
    def from_env(name: str = "MDK_NSEC") -> Keys: ...
    @staticmethod
    def from_file(path: PathArg) -> Keys: ...
    @property
    def public_key(self) -> PublicKey: ...
    def reveal_nsec(self) -> str: ...

@final
class SignedEvent:
    @staticmethod
    def from_json(text: str | bytes) -> SignedEvent: ...
    def to_json(self) -> str: ...
    @property
    def id(self) -> EventId: ...
    @property
    def kind(self) -> int: ...
    @property
    def pubkey(self) -> PublicKey: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def tags(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def content(self) -> str: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class DatabaseKey:
    @staticmethod
    def keyring(
        service: str = "mdk",
        *,
        key_id: str | None = None,
        store: KeyringStoreName | None = None,
        create: bool = True,
        allow_volatile: bool = False,
        timeout: float = 10.0,
    ) -> DatabaseKey: ...
    @staticmethod
    def from_file(path: PathArg) -> DatabaseKey: ...
    @staticmethod
    def from_fd(fd: int) -> DatabaseKey: ...
    @staticmethod
    def from_secret(name: str) -> DatabaseKey: ...
    @staticmethod
    def passphrase(text: _Passphrase, *, wipe: bool = False) -> DatabaseKey: ...
    @staticmethod
    def callback(function: Callable[[], _Buffer]) -> DatabaseKey: ...
    @staticmethod
    def from_env(name: str = "MDK_DB_KEY") -> DatabaseKey: ...
    @staticmethod
    def raw(key: _Buffer, *, wipe: bool = False) -> DatabaseKey: ...

@final
class Clock:
    def __new__(cls, start: datetime) -> Clock: ...
    @property
    def now(self) -> datetime: ...
    def set(self, now: datetime) -> None: ...
    def advance(self, by: timedelta) -> None: ...

@final
class PendingCommit:
    @property
    def group_id(self) -> GroupId: ...
    @property
    def event(self) -> SignedEvent | None: ...
    @property
    def welcomes(self) -> tuple[SignedEvent, ...]: ...
    @property
    def relays(self) -> tuple[str, ...]: ...
    @property
    def automatic(self) -> bool: ...
    def confirm(self) -> GroupInfo: ...
    def discard(self) -> None: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class OutcomeIterator:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Outcome: ...

@final
class EventIterator:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...

@final
class Mdk:
    @staticmethod
    def open(
        path: PathArg,
        *,
        keys: Keys,
        key: DatabaseKey | None = None,
        config: Config | None = None,
        clock: Clock | None = None,
    ) -> Mdk: ...
    @staticmethod
    def in_memory(
        keys: Keys | None = None, *, config: Config | None = None, clock: Clock | None = None
    ) -> Mdk: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...
    @property
    def public_key(self) -> PublicKey: ...
    @property
    def info(self) -> StoreInfo: ...
    def digest(self) -> bytes: ...

    # the whole database
    def rekey(
        self, key: DatabaseKey | None = None, *, progress: ProgressCallback | None = None
    ) -> RekeyReport: ...
    def backup(
        self,
        path: PathArg,
        *,
        passphrase: _Passphrase,
        progress: ProgressCallback | None = None,
    ) -> BackupReport: ...
    @staticmethod
    def restore(
        backup: PathArg,
        path: PathArg,
        *,
        passphrase: _Passphrase,
        key: DatabaseKey | None = None,
        progress: ProgressCallback | None = None,
    ) -> RestoreReport: ...
    def verify(self, *, progress: ProgressCallback | None = None) -> VerifyReport: ...
    def check(self) -> list[str]: ...

    # KeyPackages and invites
    def new_key_package(self, *, relays: Iterable[str], slot: str | None = None) -> SignedEvent: ...
    def key_packages(self) -> list[KeyPackage]: ...
    def delete_key_package(self, ref: str) -> None: ...
    def check_key_package(self, event: SignedEvent) -> KeyPackageVerdict: ...
    def select_key_package(self, events: Iterable[SignedEvent]) -> SignedEvent | None: ...
    def invites(self) -> list[Invite]: ...
    def accept(self, invite_id: EventId) -> GroupInfo: ...
    def decline(self, invite_id: EventId) -> None: ...

    # groups
    def create_group(
        self,
        name: str,
        *,
        members: Iterable[SignedEvent] = (),
        relays: Iterable[str],
        description: str = "",
        admins: Iterable[PublicKeyLike] = (),
        retention: timedelta | None = None,
    ) -> PendingCommit: ...
    def groups(self, *, state: GroupState | None = None) -> list[GroupInfo]: ...
    def group(self, group_id: GroupId) -> GroupInfo: ...
    def members(self, group_id: GroupId) -> list[Member]: ...
    def add_members(
        self, group_id: GroupId, key_packages: Iterable[SignedEvent], *, promote: bool = False
    ) -> PendingCommit: ...
    def remove_members(
        self, group_id: GroupId, members: Iterable[PublicKeyLike]
    ) -> PendingCommit: ...
    def update_group(
        self,
        group_id: GroupId,
        *,
        name: str | None = None,
        description: str | None = None,
        relays: Iterable[str] | None = None,
        admins: Iterable[PublicKeyLike] | None = None,
        retention: timedelta | None = None,
    ) -> PendingCommit: ...
    def promote(self, group_id: GroupId, members: Iterable[PublicKeyLike]) -> PendingCommit: ...
    def demote(self, group_id: GroupId, members: Iterable[PublicKeyLike]) -> PendingCommit: ...
    def self_update(self, group_id: GroupId) -> PendingCommit: ...
    def disband(self, group_id: GroupId) -> PendingCommit: ...
    def leave(self, group_id: GroupId) -> SignedEvent: ...
    def pending(self) -> list[PendingCommit]: ...

    # messages
    def create_message(
        self,
        group_id: GroupId,
        text: str,
        *,
        kind: int = 9,
        reply_to: EventId | None = None,
        tags: Sequence[Sequence[str]] = (),
    ) -> Outgoing: ...
    def react(self, group_id: GroupId, message_id: EventId, emoji: str = "+") -> Outgoing: ...
    def edit(self, group_id: GroupId, message_id: EventId, text: str) -> Outgoing: ...
    def delete(self, group_id: GroupId, message_id: EventId) -> Outgoing: ...
    def process(self, event: SignedEvent | str | bytes) -> Outcome: ...
    def process_many(self, events: Iterable[SignedEvent | str | bytes]) -> Iterator[Outcome]: ...
    def tick(self, now: datetime | None = None) -> Outcome: ...

    # history
    def messages(
        self,
        group_id: GroupId,
        *,
        limit: int = 50,
        before: EventId | None = None,
        after: EventId | None = None,
    ) -> list[Message]: ...
    def message(self, group_id: GroupId, message_id: EventId) -> Message: ...
    def search(
        self, query: str, *, group_id: GroupId | None = None, limit: int = 50
    ) -> list[Message]: ...
    def mark_read(self, group_id: GroupId, upto: EventId | None = None) -> None: ...
    def events(self, *, after: str | None = None, limit: int | None = None) -> Iterator[Event]: ...

    # transport, secrets, upkeep
    def interests(self) -> list[Filter]: ...
    def export_secret(
        self, group_id: GroupId, label: str, context: bytes, length: int
    ) -> bytes: ...
    def needs_self_update(self, *, older_than: timedelta | None = None) -> list[GroupId]: ...

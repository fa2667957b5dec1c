"""Opening an account's database, with what was remembered in it."""

from dataclasses import dataclass, field
from pathlib import Path

from mdk._mdk import (
    Clock,
    DatabaseKey,
    Keys,
    Mdk,
    _AccountStore,
    _normal_server,
    _open_account,
)
from mdk.config import Config
from mdk.errors import InvalidInput
from mdk.values import Signer

from .invite_policy import InvitePolicy
from .pool import RelayPool

PICTURE_SERVER = "https://blossom.divine.video"
"""Where other apps keep the pictures of groups, whatever a group names."""


def own_keys(keys: Keys | Signer | None) -> Keys | None:
    """The keys, which have to be here: the engine signs with them.

    Raises:
        InvalidInput: they are something else.
    """
    if keys is None or isinstance(keys, Keys):
        return keys
    raise InvalidInput(
        "keys: remote signing (NIP-46) is not supported, the secret key itself is needed",
        field="keys",
        hint="Give Keys, from Keys.parse() or Keys.from_file(). If the secret must stay where it is, use an account of "
        "its own here: Keys.generate().",
    )


MAX_NAME = 256
"""Bytes of an account's published name: as many as a group's name may have."""


def shown_name(name: str | None) -> str | None:
    """The name that others will see.

    Raises:
        InvalidInput: it is too long for a name, or is no Unicode text.
    """
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"name: a str was expected, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidInput("name: not valid Unicode (lone surrogates)", field="name") from None
    if size > MAX_NAME:
        raise InvalidInput(
            f"name: too long (limit {MAX_NAME} bytes, got {size})",
            field="name",
            limit=MAX_NAME,
            value=size,
        )
    return name


def _need(relays: tuple[str, ...]) -> None:
    if not relays:
        raise InvalidInput(
            "relays: none given, and none remembered from an earlier start",
            field="relays",
            limit=1,
            value=0,
            hint="Name at least one: relays=['wss://…'].",
        )


@dataclass
class Settings:
    """What open() was given."""

    path: Path | None
    keys: Keys | None
    key: DatabaseKey | None
    relays: tuple[str, ...]
    blossom: tuple[str, ...]
    name: str | None
    invites: InvitePolicy
    config: Config
    pool: RelayPool | None
    clock: Clock | None
    restored: bool = False
    reachable: bool = True
    timing: dict[str, float] = field(
        default_factory=lambda: {
            "request_timeout": 10.0,
            "retry_min": 1.0,
            "retry_max": 300.0,
            "tick_every": 1.0,
            "speak_after": 2.0,
            "self_update_after_join": 60.0,
            "renew_when_quiet_for": 30.0,
            "blob_first_byte": 30.0,
            "blob_stall": 20.0,
        }
    )
    picture_server: str | None = PICTURE_SERVER
    reconnect_min: float | None = None
    drain: float = 4.0
    """Seconds that close() gives the outbox."""
    ask: float = 2.0
    """Seconds that relays get to say how large an event may be, before a group is founded."""


def _servers(store: _AccountStore, named: tuple[str, ...]) -> tuple[str, ...]:
    """The account's file servers: those that are named now, else those that were named last."""
    if not named:
        return tuple(store.file_servers())
    store.set_file_servers(list(named))
    return named


def own_relays(mdk: Mdk) -> tuple[str, ...]:
    """The relays that the account was last opened with."""
    return tuple(_AccountStore(mdk).relays())


def open_database(settings: Settings) -> tuple[Mdk, tuple[str, ...], tuple[str, ...]]:
    """Open the account, on a thread that may wait: the engine, the account's relays, and its file servers."""
    named = tuple(dict.fromkeys(_normal_server(url) for url in settings.blossom))
    if settings.path is None:
        mdk = Mdk.in_memory(settings.keys, config=settings.config, clock=settings.clock)
    else:
        mdk = _open_account(
            settings.path,
            keys=settings.keys,
            key=settings.key,
            config=settings.config,
            clock=settings.clock,
        )
    store = _AccountStore(mdk)
    try:
        settings.invites._tell(mdk)
        if settings.restored:
            store.set_restored(True)
        if settings.keys is not None and settings.path is not None:
            store.keep_keys()
        for pending in mdk.pending():
            if pending.event is None:
                pending.discard()  # a group that a crash left half founded; nobody knows of it
        relays = settings.relays or own_relays(mdk)
        _need(relays)
        servers = _servers(store, named)
    except BaseException:
        mdk.close()
        raise
    return mdk, relays, servers

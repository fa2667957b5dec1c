"""Files from one member to another, over servers that may do anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.client.people import PATIENCE, Account, Two, join, until
from tests.client.pictures import png

from mdk import Attachment, Client, Config, Group, Message
from mdk.client import files
from mdk.client.opening import PICTURE_SERVER
from mdk.errors import (
    DestinationExists,
    FileMissing,
    InvalidInput,
    MediaCorrupt,
    MediaError,
    MediaStale,
    MediaTooLarge,
    MediaUnavailable,
    NotARegularFile,
    StorageError,
)
from mdk.testing import BlobFaults, LocalBlossom, LocalRelay
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient

LETTER = b"Dear Bob,\n" * 1000


async def received(group: Group) -> tuple[Message, Attachment]:
    """The next message, and the one file that it carries."""
    message = await group.next_message(PATIENCE)
    (attachment,) = message.attachments
    return message, attachment


def below(folder: Path) -> list[Path]:
    """Every file in a folder and its folders."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest_asyncio.fixture
async def two(make_client: MakeClient, blobs: LocalBlossom) -> Two:
    """Alice and Bob in one group, with a file server."""
    config = Config(allow_loopback=True, max_media_bytes=20_000)
    alice, bob = [await make_client(name, blobs=blobs, config=config) for name in ("alice", "bob")]
    hers, his = await join(alice, bob)
    return alice, bob, hers, his


async def test_a_file_reaches_the_others(two: Two, blobs: LocalBlossom, tmp_path: Path) -> None:
    alice, bob, hers, his = two
    letter = tmp_path / "letter.txt"
    letter.write_bytes(LETTER)
    sent = await hers.send_file(letter, caption="For you.")
    assert (sent.message.text, len(sent.message.attachments)) == ("For you.", 1)
    message, attachment = await received(his)
    assert (message.text, attachment.filename, attachment.mime_type) == (
        "For you.",
        "letter.txt",
        "text/plain",
    )
    assert await bob.media.download(attachment) == LETTER
    # The sender, too, has it from the server only.
    assert await alice.media.download(sent.message.attachments[0]) == LETTER
    # The server has seen neither the file nor an account.
    (stored,) = blobs.blobs().values()
    assert len(stored) == len(LETTER) + 16
    assert b"Dear Bob" not in stored
    await hers.send_file(LETTER)
    uploaders = blobs.uploaders
    assert len({key.hex for key in uploaders}) == 2
    assert not {alice.public_key, bob.public_key} & set(uploaders)
    _, again = await received(his)
    assert (again.filename, await bob.media.download(again)) == ("file", LETTER)


async def test_a_file_is_written_as_a_whole_and_where_it_was_asked_for(
    two: Two, tmp_path: Path
) -> None:
    _, bob, hers, his = two
    await hers.send_file(LETTER, filename="../../.ssh/authorized_keys")
    _, attachment = await received(his)
    assert attachment.filename == "../../.ssh/authorized_keys"
    inbox = tmp_path / "in" / "box"
    await bob.media.download(attachment, to=inbox / attachment.safe_filename)
    (written,) = below(tmp_path)
    assert written.parent == inbox
    assert written.read_bytes() == LETTER
    assert written.stat().st_mode & 0o777 == 0o600
    # A link in its place is replaced, and what it leads to is not touched.
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    written.unlink()
    written.symlink_to(precious)
    await bob.media.download(attachment, to=written)
    assert (precious.read_bytes(), written.read_bytes()) == (b"mine", LETTER)
    assert not written.is_symlink()
    # A folder is no file; nothing half done stays behind.
    with pytest.raises(StorageError):
        await bob.media.download(attachment, to=inbox)
    assert below(tmp_path) == [written, precious]


async def test_a_server_with_faults(two: Two, blobs: LocalBlossom, relay: LocalRelay) -> None:
    """What else a server does is told in the same way: mdk-client/tests/blossom."""
    _, bob, hers, his = two
    await hers.send_file(LETTER)
    _, attachment = await received(his)
    faults: list[tuple[BlobFaults, type[MediaError]]] = [
        (BlobFaults(refuse="not today"), MediaUnavailable),
        (BlobFaults(wrong_bytes=True), MediaCorrupt),
        (BlobFaults(endless=True), MediaTooLarge),
    ]
    for fault, error in faults:
        blobs.faults(fault)
        with pytest.raises(error) as raised:
            await bob.media.download(attachment)
        if isinstance(raised.value, MediaUnavailable):
            assert dict(raised.value.reasons) == {blobs.url: "HTTP 403: not today"}
    blobs.faults(BlobFaults(refuse="full"))
    # Nothing is sent that no server took.
    before = relay.count(445)
    with pytest.raises(MediaUnavailable) as full:
        await hers.send_file(LETTER)
    assert dict(full.value.reasons) == {blobs.url: "HTTP 403: full"}
    assert len([message async for message in hers.history()]) == 1
    assert relay.count(445) == before
    blobs.faults()
    assert await bob.media.download(attachment) == LETTER


async def test_a_server_that_is_not_named_is_not_asked_on_loopback(
    make_client: MakeClient, blobs: LocalBlossom
) -> None:
    """Others name places; only what the user named may be on this machine."""
    alice = await make_client("alice", blobs=blobs)
    careful = Config(allow_loopback=False)
    bob = await make_client("bob", config=careful)
    carol = await make_client("carol", blobs=blobs, config=careful)
    hers, his, third = await join(alice, bob, carol)
    await hers.send_file(LETTER)
    _, attachment = await received(his)
    asked = blobs.requests
    with pytest.raises(MediaUnavailable) as raised:
        await bob.media.download(attachment)
    assert dict(raised.value.reasons) == {blobs.url: "this address is not dialled: not https"}
    assert blobs.requests == asked
    # Who has named it herself gets it.
    _, attachment = await received(third)
    assert await carol.media.download(attachment) == LETTER


async def test_a_group_names_the_servers_of_its_founder(
    make_client: MakeClient, blobs: LocalBlossom
) -> None:
    alice, bob = await make_client("alice", blobs=blobs), await make_client("bob")
    hers, his = await join(alice, bob)
    assert await hers.media_servers() == await his.media_servers() == [f"{blobs.url}/"]
    # Who has none uses these, and no server that nobody named.
    await his.send_file(LETTER)
    assert len(blobs.blobs()) == 1
    _, attachment = await received(hers)
    assert await alice.media.download(attachment) == LETTER
    # A founder without servers names those of other apps.
    servers = await (await bob.groups.create("mine")).media_servers()
    assert servers == [
        "https://blossom.divine.video/",
        "https://blossom.ditto.pub/",
        "https://cdn.hzrd149.com/",
    ]
    assert servers[0] == PICTURE_SERVER + "/"


class Interrupted:
    """The native client; after each upload something happens."""

    def __init__(self, native: Any, then: Callable[[], Awaitable[object]]) -> None:
        self._native = native
        self._then = then
        self.uploads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    async def upload(self, *arguments: Any) -> Attachment:
        attachment = await self._native.upload(*arguments)
        self.uploads += 1
        await self._then()
        assert isinstance(attachment, Attachment)
        return attachment


async def test_a_file_is_encrypted_again_when_the_epoch_changes(
    two: Two, blobs: LocalBlossom
) -> None:
    alice, bob, hers, his = two
    changes = 1

    async def change() -> None:
        nonlocal changes
        if changes:
            changes -= 1
            await hers.self_update()

    native = Interrupted(alice._session.native, change)
    alice._session.native = native  # type: ignore[assignment]
    sent = await hers.send_file(LETTER)
    assert (native.uploads, len(blobs.blobs())) == (2, 2)
    assert sent.message.epoch == hers.info.epoch
    _, attachment = await received(his)
    assert await bob.media.download(attachment) == LETTER

    changes = 100
    native.uploads = 0
    with pytest.raises(MediaStale):
        await hers.send_file(LETTER)
    assert native.uploads == 3
    assert len([message async for message in hers.history()]) == 1


async def test_a_group_has_a_picture(two: Two, blobs: LocalBlossom, tmp_path: Path) -> None:
    alice, bob, hers, his = two
    assert (await hers.image(), hers.info.has_image) == (None, False)
    path = tmp_path / "cat.png"
    path.write_bytes(png(10, 10, b"secret"))
    info = await hers.set_image(path)
    assert info.has_image
    await until(lambda: his.info.has_image, bob)
    picture = await his.image()
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
    assert b"secret" not in picture
    (stored,) = blobs.blobs().values()
    assert b"PNG" not in stored
    assert not {alice.public_key, bob.public_key} & set(blobs.uploaders)
    # Only an admin may, and is told before anything is uploaded.
    with pytest.raises(PermissionError):
        await his.set_image(path)
    assert len(blobs.uploaders) == 1
    assert not (await hers.set_image(None)).has_image
    assert await hers.image() is None
    await until(lambda: not his.info.has_image, bob)
    assert await his.image() is None


async def test_sizes_and_files_that_cannot_be_sent(
    two: Two, blobs: LocalBlossom, tmp_path: Path
) -> None:
    _, bob, hers, his = two
    await hers.send_file(bytes(20_000))
    _, attachment = await received(his)
    assert await bob.media.download(attachment) == bytes(20_000)
    large = tmp_path / "large"
    large.write_bytes(bytes(20_001))
    for source in (bytes(20_001), large):
        with pytest.raises(MediaTooLarge) as raised:
            await hers.send_file(source)
        assert raised.value.limit == 20_000
    with pytest.raises(FileMissing, match=str(tmp_path / "nothing")):
        await hers.send_file(tmp_path / "nothing")
    with pytest.raises(NotARegularFile):
        await hers.send_file(tmp_path)
    assert len(blobs.blobs()) == 1


async def test_servers_are_checked_and_remembered(
    relay: LocalRelay, blobs: LocalBlossom, tmp_path: Path
) -> None:
    for wrong in ("ftp://blobs.example", "http://blobs.example", "https://u:p@blobs.example"):
        with pytest.raises(InvalidInput) as raised:
            await Client.open(":memory:", relays=[relay.url], blossom=[wrong]).start()
        assert raised.value.field == "blossom"
    with pytest.raises(InvalidInput):
        Client.open(":memory:", relays=[relay.url], blossom="https://blobs.example")  # one text
    account = Account(tmp_path, "alice", relay)
    async with account.open(blobs=[blobs]) as alice:
        group = await alice.groups.create("mine")
    async with account.open() as alice:
        await alice.groups[group.id].send_file(LETTER)
    assert len(blobs.blobs()) == 1


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, b"one", replace=False)
    with pytest.raises(DestinationExists, match=str(path)):
        files.write(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    files.write(path, b"two")
    assert path.read_bytes() == b"two"
    for name in ("..", ""):
        with pytest.raises((InvalidInput, StorageError)):
            files.write(tmp_path / name, b"")
    assert list(tmp_path.iterdir()) == [path]


def test_a_safe_name_stays_where_it_is_put() -> None:
    attachment = Attachment("x", "text/plain", None, "0" * 64, "0" * 64, "0" * 24)
    names = {
        "cat.jpg": "cat.jpg",
        "../../etc/passwd": "etcpasswd",
        "..\\..\\boot.ini": "boot.ini",
        "/etc/passwd": "etcpasswd",
        ".bashrc": "bashrc",
        "...": "file",
        " ": "file",
        "\n\r\t\x1b": "file",
        "a\x00b\u202egpj.exe": "abgpj.exe",
        "two\u2028lines\u2029.txt": "twolines.txt",
        "c:\\windows": "cwindows",
        "CON.txt": "_CON.txt",
        "report. ": "report",
        "größe.png": "größe.png",
    }
    for sent, safe in names.items():
        assert replace(attachment, filename=sent).safe_filename == safe
    for letter in ("a", "ä", "😀"):
        short = replace(attachment, filename=letter * 300 + ".jpeg").safe_filename
        assert 250 <= len(short.encode()) <= 255
        assert short.endswith(".jpeg")


async def test_the_picture_of_a_group_goes_where_other_apps_look(
    relay: LocalRelay, blobs: LocalBlossom
) -> None:
    """Whatever the account and the group name; and is looked for there last. Its owner can forbid it."""
    async with LocalBlossom() as public:

        async def one(config: Config, *servers: str) -> Client:
            opened = impatient(
                Client.open(":memory:", relays=[relay.url], blossom=servers, config=config)
            )
            opened._settings.picture_server = public.url
            await opened.start()
            return opened

        usual = Config(allow_loopback=True)
        async with await one(usual, blobs.url) as alice:
            group = await alice.groups.create("Lunch")
            await group.set_image(png(8, 8))
            assert len(blobs.blobs()) == 1
            assert blobs.blobs() == public.blobs()
            blobs.wipe()
            assert await group.image() is not None
            # It is no place that counts: who names servers wants them to have it.
            blobs.faults(BlobFaults(refuse="the disk is full"))
            with pytest.raises(MediaUnavailable):
                await group.set_image(png(9, 9))
            blobs.faults()
            public.faults(BlobFaults(refuse="not for you"))
            await group.set_image(png(9, 9))
        public.faults()
        public.wipe()
        alone = Config(allow_loopback=True, use_picture_server=False)
        async with await one(alone, blobs.url) as alice:
            group = await alice.groups.create("Lunch")
            await group.set_image(png(8, 8))
            before = public.requests
            blobs.wipe()
            with pytest.raises(MediaUnavailable):
                await group.image()
            assert (public.requests, public.blobs()) == (before, {})

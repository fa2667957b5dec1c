"""Files of messages, as a user of the engine sends and opens them."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from mdk import (
    Applied,
    Attachment,
    Config,
    EncryptedMedia,
    GroupId,
    Mdk,
    MessageReceived,
    errors,
)

RELAYS = ["wss://relay.example"]


def stored(media: EncryptedMedia) -> Attachment:
    """The attachment, after its data was put somewhere."""
    where = ("blossom-v1", f"https://media.example/{media.sha256}")
    return replace(media.attachment, locators=(where,))


def png(width: int, height: int, *texts: bytes, claims: int | None = None) -> bytes:
    """A grey picture with comments in it; perhaps it claims to be larger."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    rows = (b"\0" + bytes([90]) * width) * height
    comments = b"".join(chunk(b"tEXt", text) for text in texts)
    header = struct.pack(">IIBBBBB", claims or width, claims or height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + comments + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def test_a_file_travels(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    media = alice.encrypt_media(pair, b"tomatoes, basil", filename="soup.txt")
    assert media.epoch == alice.group(pair).epoch
    assert (media.sha256, len(media.data)) == (media.attachment.ciphertext_sha256, 15 + 16)
    assert b"basil" not in media.data
    attachment = stored(media)
    assert (attachment.mime_type, attachment.size) == ("text/plain", 15)
    sent = alice.create_message(pair, "The recipe.", attachments=[attachment])
    outcome = bob.process(sent.event)
    assert isinstance(outcome, Applied)
    (event,) = outcome.events
    assert isinstance(event, MessageReceived)
    (file,) = event.message.attachments
    assert file == replace(attachment, size=None)
    assert file.url == f"https://media.example/{media.sha256}"
    assert (file.dimensions, file.thumbhash, file.blurhash) == (None, None, None)
    assert event.message == bob.messages(pair)[-1]
    assert alice.messages(pair)[-1].attachments == (file,)
    for mdk in (alice, bob):
        assert mdk.decrypt_media(pair, file, media.data) == b"tomatoes, basil"
    assert bob.decrypt_media(pair, file, bytes(media.data)) == b"tomatoes, basil"
    assert pickle.loads(pickle.dumps(file)) == file
    assert "recipe" in event.message.text
    with pytest.raises(FrozenInstanceError):
        file.filename = "x"  # type: ignore[misc]


def test_a_picture_says_nothing_of_its_maker(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    picture = png(30, 20, b"Author\0Alice", b"Comment\0at home")
    media = alice.encrypt_media(pair, picture, filename="holiday")
    bob.process(alice.create_message(pair, "", attachments=[stored(media)]).event)
    (file,) = bob.messages(pair)[-1].attachments
    assert (file.mime_type, file.dimensions) == ("image/png", (30, 20))
    assert file.thumbhash
    assert bob.decrypt_media(pair, file, media.data) == png(30, 20)
    with Mdk.in_memory(config=Config(strip_image_metadata=False)) as carol:
        with carol.create_group("Mine", relays=RELAYS) as pending:
            group = pending.confirm()
        kept = carol.encrypt_media(group.id, picture, filename="holiday")
        assert carol.decrypt_media(group.id, kept.attachment, kept.data) == picture
    for data in (picture[:40], b"\0\0\0\x18ftypheic"):
        with pytest.raises(errors.MediaError, match=r"metadata|damaged"):
            alice.encrypt_media(pair, data, filename="a")
    with pytest.raises(errors.MediaTooLarge) as caught:
        alice.encrypt_media(pair, png(1, 1, claims=2**17), filename="a")
    assert (caught.value.limit, caught.value.value) == (50_000_000, 2**34)


def test_a_file_belongs_to_its_epoch(alice: Mdk, pair: GroupId) -> None:
    attachment = stored(alice.encrypt_media(pair, b"x", filename="a.bin"))
    with alice.self_update(pair) as pending:
        pending.confirm()
    with pytest.raises(errors.MediaStale) as caught:
        alice.create_message(pair, "", attachments=[attachment])
    assert caught.value.hint is not None
    assert "encrypt_media" in caught.value.hint
    assert isinstance(caught.value, errors.MediaError)
    again = stored(alice.encrypt_media(pair, b"x", filename="a.bin"))
    assert alice.create_message(pair, "", attachments=[again]).message.attachments


def test_a_deleted_message_has_no_file(alice: Mdk, pair: GroupId) -> None:
    media = alice.encrypt_media(pair, b"kept", filename="a.bin")
    sent = alice.create_message(pair, "", attachments=[stored(media)]).message
    (file,) = alice.message(pair, sent.id).attachments
    alice.delete(pair, sent.id)
    assert alice.message(pair, sent.id).attachments == ()
    with pytest.raises(errors.MediaError, match="no message"):
        alice.decrypt_media(pair, file, media.data)


def test_corrupt_data(alice: Mdk, pair: GroupId) -> None:
    media = alice.encrypt_media(pair, b"twelve bytes", filename="a.bin")
    flipped = bytes([media.data[0] ^ 1]) + media.data[1:]
    for wrong in (flipped, media.data[:-1], media.data + b"x", b""):
        with pytest.raises(errors.MediaCorrupt):
            alice.decrypt_media(pair, media.attachment, wrong)
    with pytest.raises(errors.MediaError):
        alice.decrypt_media(pair, replace(media.attachment, filename="b"), media.data)
    with pytest.raises(errors.GroupNotFound):
        alice.decrypt_media(GroupId("00"), media.attachment, media.data)


def test_the_largest_file() -> None:
    with Mdk.in_memory(config=Config(max_media_bytes=1000)) as mdk:
        with mdk.create_group("Mine", relays=RELAYS) as pending:
            group = pending.confirm().id
        at_limit = mdk.encrypt_media(group, bytes(1000), filename="a.bin")
        assert mdk.decrypt_media(group, at_limit.attachment, at_limit.data) == bytes(1000)
        with pytest.raises(errors.MediaTooLarge) as caught:
            mdk.encrypt_media(group, bytes(1001), filename="a.bin")
        assert (caught.value.limit, caught.value.value) == (1000, 1001)
        with pytest.raises(errors.MediaTooLarge):
            mdk.decrypt_media(group, at_limit.attachment, bytes(1017))


def test_wrong_attachments(alice: Mdk, pair: GroupId) -> None:
    good = stored(alice.encrypt_media(pair, b"x", filename="a.bin"))
    changes: list[tuple[dict[str, Any], str]] = [
        ({"mime_type": "image/jpg"}, "not allowed"),
        ({"filename": "a\0"}, "not allowed"),
        ({"sha256": "AB" * 32}, "sha256"),
        ({"nonce": "00"}, "nonce"),
        ({"locators": (("blossom-v1",),)}, "type"),
        ({"size": "x"}, "type"),
    ]
    for change, part in changes:
        with pytest.raises(errors.InvalidInput, match=part):
            alice.create_message(pair, "", attachments=[replace(good, **change)])
    alice.create_message(pair, "", attachments=[good])


def test_wrong_arguments(alice: Mdk, pair: GroupId) -> None:
    good = stored(alice.encrypt_media(pair, b"x", filename="a.bin"))
    calls: list[Callable[[], object]] = [
        lambda: alice.create_message(pair, "", attachments=["a"]),  # type: ignore[list-item]
        lambda: alice.create_message(pair, "", attachments=5),  # type: ignore[arg-type]
        lambda: alice.decrypt_media(pair, "a", b""),  # type: ignore[arg-type]
        lambda: alice.decrypt_media(pair, good, "text"),  # type: ignore[arg-type]
        lambda: alice.encrypt_media(pair, "text", filename="a"),  # type: ignore[arg-type]
        lambda: alice.encrypt_media(pair, b"x"),  # type: ignore[call-arg]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(errors.InvalidInput, match="kind 9"):
        alice.create_message(pair, "", kind=1068, attachments=[good])
    assert (
        alice.encrypt_media(pair, b"x", filename="a", mime_type="Text/CSV ; x").attachment.mime_type
        == "text/csv"
    )

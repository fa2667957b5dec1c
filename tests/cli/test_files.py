"""Files, as a shell sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tests.cli.kit import Home

from mdk.testing import BlobFaults, LocalBlossom

LETTER = b"Dear Bob,\n" * 100


@pytest.fixture
def blobs() -> Iterator[LocalBlossom]:
    """A file server on a thread of its own: the commands are waited for."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = LocalBlossom()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_file_from_one_shell_to_the_other(home: Home, blobs: LocalBlossom) -> None:
    home.pair()
    (home.folder / "letter.txt").write_bytes(LETTER)
    done = home.done(
        *("send", "-a", "alice", "Lunch", "--file", "letter.txt", "--caption", "For you."),
        *("--server", blobs.url, "--json"),
    )
    message = done.document["message"]
    assert (message["text"], message["attachments"][0]["filename"]) == ("For you.", "letter.txt")
    shown = home.mdk("history", "-a", "bob", "Lunch", "--sync", "--ids").out
    assert f"{message['id'][:10]}  " in shown
    assert "For you.  [file: letter.txt]" in shown

    # Bob names no server; the one that Alice names is on his own machine, where others may not send him.
    done = home.mdk("download", "-a", "bob", message["id"][:10], "--to", "in/box", "--json")
    assert (done.code, done.document["error"]["code"]) == (68, "media_unavailable")
    assert not (home.folder / "in").exists()
    # Who has named it once has named it.
    (home.folder / "answer.txt").write_bytes(b"Dear Alice")
    done = home.done(
        "send", "-a", "bob", "Lunch", "--file", "answer.txt", "--server", blobs.url, "--json"
    )
    done = home.mdk("download", "-a", "bob", message["id"][:10], "--to", "in/box")
    assert (done.code, done.err) == (0, "")
    assert done.out == "in/box/letter.txt  1.0 kB\n"
    assert (home.folder / "in" / "box" / "letter.txt").read_bytes() == LETTER
    done = home.mdk("download", "-a", "bob", message["id"], "--to", "in/box", "--json")
    assert (done.code, done.document["error"]["code"]) == (73, "destination_exists")
    done = home.mdk("download", "-a", "bob", message["id"], "--to", ".", "--json")
    assert done.document["error"]["code"] == "destination_exists"
    done = home.mdk("download", "-a", "bob", message["id"], "--to", "again", "--json")
    assert done.document["files"] == [{"path": "again/letter.txt", "size": len(LETTER)}]
    # A name that the sender chose is not put among the files of whoever asks.
    download = ("download", "-a", "bob", message["id"])
    assert home.mdk(*download).out == "mdk-downloads/letter.txt  1.0 kB\n"
    place = home.folder / "mdk-downloads" / "letter.txt"
    place.write_bytes(b"mine")
    assert home.mdk(*download, "--json").document["error"]["code"] == "destination_exists"
    assert place.read_bytes() == b"mine"
    home.done(*download, "--overwrite")
    assert place.read_bytes() == LETTER


def test_a_file_and_a_text_are_two_messages(home: Home) -> None:
    base = ("send", "-a", "alice", "Lunch")
    assert home.mdk(*base, "text", "--file", "letter.txt").code == 64
    assert home.mdk(*base, "--caption", "x").code == 64


def test_what_cannot_be_sent_says_so(home: Home, blobs: LocalBlossom) -> None:
    home.pair()
    (home.folder / "letter.txt").write_bytes(LETTER)
    base = ("send", "-a", "alice", "Lunch", "--file")
    done = home.fails(64, *base, "letter.txt", "--server", "ftp://x")
    assert "invalid server URL" in done.err
    assert home.mdk(*base, "nothing", "--server", blobs.url).code == 66
    blobs.faults(BlobFaults(refuse="the disk is full"))
    done = home.fails(68, *base, "letter.txt")
    assert f"{blobs.url}: HTTP 403: the disk is full" in done.err
    assert home.mdk("history", "-a", "alice", "Lunch").out == ""
    assert home.mdk("download", "-a", "alice", "ffffffff").code == 66

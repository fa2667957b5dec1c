"""`Keys.from_file()`: what each error says to do is what helps."""

import os
from pathlib import Path

import pytest

from mdk import Keys, errors
from mdk.cli import hints

NCRYPTSEC = (
    "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84zm3frztj"
    "3z7s35vpzmqf6ksu8r89qk5z2zxfmu5gv8th8wclt0h4p"
)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.FileMissing) as caught:
        Keys.from_file(tmp_path / "nsec")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.hint == "Check the path."
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "nsec"
    path.write_text(Keys.generate().reveal_nsec())
    path.chmod(0o644)
    with pytest.raises(errors.KeyFileTooWide) as caught:
        Keys.from_file(path)
    assert "chmod 600" in str(caught.value)
    assert caught.value.hint is not None
    assert "rekey" not in caught.value.hint, "that changes the key of a database"


def test_an_encrypted_key_needs_a_call_that_takes_a_password(tmp_path: Path) -> None:
    path = tmp_path / "ncryptsec"
    path.touch(mode=0o600)
    path.write_text(NCRYPTSEC)
    with pytest.raises(errors.InvalidKey) as caught:
        Keys.from_file(path)
    assert caught.value.hint is not None
    assert "Keys.parse(text, password)" in caught.value.hint
    assert hints.told(caught.value, "init")[1] == (
        "Decrypt it first: an nsec or 64 hex digits are taken here."
    ), "at a shell there is no such call"
    assert Keys.parse(path.read_text(), "nostr").reveal_nsec().startswith("nsec1")

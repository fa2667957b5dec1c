"""Short words for what many tests of the vault do: a program of its own, a group, a commit of it."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

from mdk import GroupId, Mdk, PendingCommit, SignedEvent

RELAYS = ["wss://relay.example"]
Done = subprocess.CompletedProcess[str]


def python(code: str, *arguments: object, **options: Any) -> Done:
    """A program in an interpreter of its own."""
    return ran([sys.executable, "-c", code, *arguments], **options)


def ran(command: list[Any], **options: Any) -> Done:
    """A command with what it said."""
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    said: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}
    return subprocess.run([str(word) for word in command], **(said | options))


def succeeded(done: Done) -> str:
    """What a program said that has come to its end."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def key_in(file: Path) -> bytes:
    """The key in a key file."""
    head, _, body = file.read_text(encoding="ascii").strip().rpartition(":")
    assert head == "mdk-key-1"
    return base64.b64decode(body, validate=True)


def founded(founder: Mdk, *others: Mdk, name: str = "Lunch", **settings: Any) -> GroupId:
    """A group of all of them."""
    packages = [other.new_key_package(relays=RELAYS) for other in others]
    return of_packages(founder, *zip(others, packages, strict=True), name=name, **settings)


def of_packages(
    founder: Mdk, *invited: tuple[Mdk, SignedEvent], name: str = "Lunch", **settings: Any
) -> GroupId:
    """A group of all of them, each by its KeyPackage."""
    packages = [package for _, package in invited]
    with founder.create_group(name, members=packages, relays=RELAYS, **settings) as pending:
        welcomes = pending.welcomes
        group = pending.confirm().id
    for other, _ in invited:
        for welcome in welcomes:
            other.process(welcome)
        other.accept(other.invites()[0].id)
    return group


def committed(pending: PendingCommit, *others: Mdk) -> SignedEvent:
    """Confirms a commit as if a relay had taken it, and gives it to the others."""
    with pending:
        assert pending.event is not None
        event = pending.event
        pending.confirm()
    for other in others:
        other.process(event)
    return event

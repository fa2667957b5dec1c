"""`mdk` as users of a shell call it, against a relay in another process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mdk.cli.app import run
from mdk.testing import LocalRelay

NOWHERE = "ws://127.0.0.1:9"  # the port of `discard`: nobody listens there


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its NDJSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Home:
    """A user of a machine without a keyring."""

    folder: Path
    relay: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the commands see."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MDK_")}
        return {**kept, **self.own}

    @property
    def own(self) -> dict[str, str]:
        """What the commands see here and nowhere else."""
        return {
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder}/nothing",
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "COLUMNS": "200",
            **self.more,
        }

    def command(self, *arguments: str | Path) -> list[str]:
        """A command line."""
        return [sys.executable, "-W", "error", "-m", "mdk", *map(str, arguments)]

    def mdk(self, *arguments: str | Path, text: str = "", **environment: str) -> Done:
        """Run one command to its end, in this process: most of its time would be the start of Python."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as here:
            here.chdir(self.folder)
            for name in [name for name in os.environ if name.startswith("MDK_")]:
                here.delenv(name)
            for name, value in {**self.own, **environment}.items():
                here.setenv(name, value)
            here.setattr(sys, "stdin", io.StringIO(text))
            with redirect_stdout(out), redirect_stderr(err):
                code = run([*map(str, arguments)])
        return Done(int(code), out.getvalue(), err.getvalue())

    def done(self, *arguments: str | Path, **options: str) -> Done:
        """Run one command that is to end well."""
        return self.fails(0, *arguments, **options)

    def fails(self, code: int, *arguments: str | Path, **options: str) -> Done:
        """Run one command that is to end with this code."""
        done = self.mdk(*arguments, **options)
        assert done.code == code, (arguments, done.out, done.err)
        return done

    def process(self, *arguments: str | Path, how: str = "", **options: Any) -> Done:
        """Run one command to its end in a process of its own, in a shell that redirects its streams as `how` says."""
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {how}', "sh", *self.command(*arguments)],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options},
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            cwd=self.folder,
            env=self.environment,
            check=False,
        )
        for fault in ("Traceback", "Exception ignored"):
            assert fault not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout or "", done.stderr)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command that has no end of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
        )

    def key(self, account: str) -> str:
        """Where the key of an account is."""
        return f"file:{self.folder / f'{account}.key'}"

    def account(self, name: str, *options: str, relay: str | None = None) -> str:
        """Make an account; its npub."""
        done = self.done(
            *("init", "--json", "--account", name, "--key", self.key(name)),
            *("--relay", relay or self.relay, *options),
        )
        assert (done.document["new"], done.document["account"]) == (True, name)
        npub = done.document["npub"]
        assert isinstance(npub, str)
        return npub

    def pair(self, group: str = "Lunch") -> tuple[str, str]:
        """Alice and Bob in one group; their npubs."""
        alice, bob = self.account("alice"), self.account("bob")
        self.done("invite", "-a", "alice", "--new", group, bob, "--json")
        done = self.done("accept", "-a", "bob", "--all", "--json")
        assert [one["name"] for one in done.document["joined"]] == [group]
        return alice, bob


@contextmanager
def served(relay: LocalRelay) -> Iterator[LocalRelay]:
    """A relay whose faults a test switches on. It needs no event loop to run."""
    asyncio.run(relay.__aenter__())
    try:
        yield relay
    finally:
        asyncio.run(relay.__aexit__(None, None, None))


def texts(lines: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[str]:
    """The texts of records of messages."""
    return [str(line["text"]) for line in lines]

"""Where documented programs run: two local relays, somebody to talk to, a folder of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import Block, steps
from tests.docs.masks import GAP, localized, relay_names, same, without
from tests.docs.terminal import INTERRUPT, Session

from mdk import Client, Config, Group, InvitePolicy, MessageReceived, ReactionAdded
from mdk.errors import KeyPackageNotFound
from mdk.testing import LocalRelay

PATIENCE = 120.0
PARTNER = "npub1" + "q" * 58
TALK = re.compile(r'"([^"]*)" -> "([^"]*)"')


@dataclass
class Partner:
    """Accepts every invite, and answers with what was said unless it is told to be quiet."""

    client: Client
    echoes: bool = True

    async def live(self) -> None:
        """Answer until cancelled."""
        async for event in self.client.events():
            if isinstance(event, MessageReceived) and self.echoes and event.group_id is not None:
                await self.client.groups[event.group_id].send(event.message.text)


@dataclass
class Stage:
    """What all blocks of one document share."""

    folder: Path
    relays: list[str]
    partner: Partner

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program: its own home, the tools of this interpreter first."""
        kept = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
        looked_at = ("PYTHONPATH", "PHONES_LEDGER")  # tests/phones
        home = self.folder / "home"
        return {
            **{name: os.environ[name] for name in (*kept, *looked_at) if name in os.environ},
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / ".local/share"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "COLUMNS": "120",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "error",
        }

    @property
    def work(self) -> Path:
        """The current folder of the programs."""
        return self.folder / "work"

    def localized(self, code: str) -> str:
        """The code with the network of this stage."""
        return localized(code, self.relays, self.partner.client.npub)

    # ------------------------------------------------------------------ programs

    async def program(self, block: Block, code: str) -> list[str]:
        """Run a Python program to its end; what it prints."""
        path = self.folder / "program.py"
        path.write_text(self.localized(code), encoding="utf-8")
        talk = block.asked("talk")
        self.partner.echoes = talk is None
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(path),
            cwd=self.work,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed: list[str] = []
        new = asyncio.Event()
        assert process.stdout is not None
        assert process.stderr is not None
        told: list[str] = []  # on stderr
        reading = asyncio.ensure_future(self._collect(process.stdout, printed, new))
        errors = asyncio.ensure_future(self._collect(process.stderr, told, new))
        stopped = block.asked("Ctrl-C after")
        try:
            async with asyncio.timeout(PATIENCE):
                if talk is not None:
                    npub = await self._until(told, new, reading, r"npub1[02-9ac-hj-np-z]{58}")
                    await self._talk(npub, TALK.findall(talk))
                    process.send_signal(signal.SIGINT)
                elif stopped is not None:
                    await self._until(printed, new, reading, re.escape(stopped.strip('"')))
                    process.send_signal(signal.SIGINT)
                await process.wait()
                await asyncio.gather(reading, errors)
        except (TimeoutError, AssertionError) as error:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.gather(reading, errors)
            raise AssertionError(f"{block.name}: {error!r}; printed {printed}; {told}") from None
        fine = {0} if stopped is None else {0, 130, -signal.SIGINT}
        assert process.returncode in fine, f"{block.name}: exit {process.returncode}; {told}"
        assert printed or talk is not None, (
            f"{block.name}: a program that prints nothing shows nothing"
        )
        return printed

    @staticmethod
    async def _collect(stream: asyncio.StreamReader, into: list[str], new: asyncio.Event) -> None:
        async for line in stream:
            into.append(line.decode(errors="replace").rstrip("\n"))
            new.set()
        new.set()

    @staticmethod
    async def _until(
        printed: list[str], new: asyncio.Event, reading: asyncio.Future[None], pattern: str
    ) -> str:
        while True:
            for line in printed:
                if found := re.search(pattern, line):
                    return found[0]
            assert not reading.done(), f"it ended without printing {pattern}"
            new.clear()
            await new.wait()

    async def _talk(self, npub: str, lines: list[tuple[str, str]]) -> None:
        client = self.partner.client
        group = await self._group_with(npub)
        events = client.events(after=client.cursor)
        for said, answer in lines:
            await group.send(said)
            async for event in events:
                if isinstance(event, MessageReceived) and event.group_id == group.id:
                    assert event.message.text == answer, event.message.text
                    break
                if isinstance(event, ReactionAdded) and event.group_id == group.id:
                    assert event.reaction.emoji == answer, event.reaction.emoji
                    break

    async def _group_with(self, npub: str) -> Group:
        while True:
            try:
                return await self.partner.client.groups.create("Talk", [npub])
            except KeyPackageNotFound:
                # It prints its name before it is reachable.
                await self.partner.client.sync()

    # ------------------------------------------------------------------ sessions

    async def session(self, block: Block) -> list[list[str]]:
        """Run a block of commands; the output of each."""
        self.partner.echoes = True
        local = Block(
            block.document, block.line, block.language, self.localized(block.code), block.note
        )
        answers = [part.strip() for part in (block.asked("types") or "").split("|") if part.strip()]
        outputs = await Session(steps(local), answers).run(self.work, self.environment)
        assert not any("Traceback" in line for lines in outputs for line in lines), outputs
        return [[self._published(line, block) for line in lines] for lines in outputs]

    def _published(self, line: str, block: Block) -> str:
        """A line of output with the names that a reader knows, in place of those of this machine."""
        names = relay_names(block.code) or ["wss://relay.example"]
        for place, url in enumerate(self.relays):
            line = line.replace(url, names[min(place, len(names) - 1)])
        line = line.replace(self.partner.client.npub, PARTNER)
        return line.replace(str(self.work), "~/desk").replace(str(self.folder / "home"), "~")


def difference(block: Block, outputs: list[list[str]]) -> str | None:
    """What is not as it is shown, None if all is."""
    for step, seen in zip(steps(block), outputs, strict=True):
        shown = step.shows
        if shown is None:
            continue
        wanted = shown[:-1] if shown and shown[-1] == INTERRUPT else shown
        topics = (block.asked("differs") or "").split()
        if not same(without(wanted, topics), without(seen, topics)):
            return (
                f"{block.name}: $ {step.command}\n--- shown\n"
                + "\n".join(wanted)
                + "\n--- seen\n"
                + "\n".join(seen)
            )
    return None


def rewritten(block: Block, outputs: list[list[str]]) -> str:
    """The block with what was seen in place of what is shown; outputs with a gap are left alone."""
    lines: list[str] = []
    for step, seen in zip(steps(block), outputs, strict=True):
        assert step.shows is not None
        lines += [f"$ {step.command}"]
        interrupt = [INTERRUPT] if step.shows and step.shows[-1] == INTERRUPT else []
        wanted = step.shows[: len(step.shows) - len(interrupt)]
        keep = GAP in wanted or same(wanted, seen)
        lines += [*(wanted if keep else seen), *interrupt]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Open the curtain."""
    for name in ("home", "work"):
        (folder / name).mkdir(mode=0o700)
    async with LocalRelay() as first, LocalRelay() as second:
        urls = [first.url, second.url]
        opening = Client.open(
            ":memory:",
            relays=urls,
            name="Partner",
            invites=InvitePolicy.anyone(),
            config=Config(allow_loopback=True),
        )
        # Its commit after joining would meet those of the commands that are shown.
        opening._settings.timing["self_update_after_join"] = 3600.0
        async with opening as client:
            await client.ready(PATIENCE)
            partner = Partner(client)
            living = asyncio.ensure_future(partner.live())
            try:
                yield Stage(folder, urls, partner)
            finally:
                living.cancel()
                with suppress(asyncio.CancelledError):
                    await living

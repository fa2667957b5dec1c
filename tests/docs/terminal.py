"""A session with a shell on a terminal of its own: commands, answers to questions, Ctrl-C."""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import re
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import Step
from tests.docs.masks import GAP, masked

MARK = "\x1e"
DRAWN = re.compile(r"\r[^\r\n]*\x1b\[K")
QUESTION = re.compile(r"(?:^|\n)[^\n]*(?::|\?|\]:) \Z")
INTERRUPT = "^C"
PATIENCE = 120.0


def script(steps: list[Step]) -> str:
    """A bash script that marks where the output of each command begins."""
    parts = [f"printf '{MARK}'\n(exit ${{code:-0}})\n{step.command}\ncode=$?" for step in steps]
    return "\n".join([*parts, f"printf '{MARK}'", ""])


class Session:
    """One block of commands, run by bash."""

    def __init__(self, steps: list[Step], answers: list[str]) -> None:
        self._steps: list[Step] = steps
        self._answers: list[str] = list(answers)
        self._seen: str = ""
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._answered: int = 0
        self._interrupted: set[int] = set()
        self._fd: int = -1
        self._done: asyncio.Event = asyncio.Event()

    async def run(self, folder: Path, environment: Mapping[str, str]) -> list[list[str]]:
        """The output of each command, in lines."""
        self._fd, child = pty.openpty()
        settings = termios.tcgetattr(child)
        settings[3] &= ~termios.ECHO  # what is typed is not part of what is shown
        termios.tcsetattr(child, termios.TCSANOW, settings)
        bash = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            # A terminal of its own, so that Ctrl-C reaches whoever is in front.
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execvp('bash', ['bash', '-c', sys.argv[1]])",
            script(self._steps),
            stdin=child,
            stdout=child,
            stderr=child,
            cwd=folder,
            env=environment,
        )
        os.close(child)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, self._read)
        try:
            async with asyncio.timeout(PATIENCE):
                await bash.wait()
                await self._done.wait()
        except TimeoutError:
            bash.kill()
            await bash.wait()
            raise AssertionError(f"no end of it: {self._seen!r}") from None
        finally:
            loop.remove_reader(self._fd)
            os.close(self._fd)
        return [self._lines(part) for part in self._parts()]

    def _parts(self) -> list[str]:
        return self._seen.split(MARK)[1:][: len(self._steps)]

    @staticmethod
    def _lines(part: str) -> list[str]:
        text = DRAWN.sub("", part.replace("\r\n", "\n")).replace("\r", "")
        return text.splitlines()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._done.set()
            return
        self._seen += self._decoder.decode(data)
        self._react()

    def _react(self) -> None:
        place = self._seen.count(MARK) - 1
        if not 0 <= place < len(self._steps):
            return
        part = self._seen.rpartition(MARK)[2].replace("\r\n", "\n")
        unseen = len(self._seen) > self._answered
        if self._answers and unseen and QUESTION.search(DRAWN.sub("", part)):
            self._answered = len(self._seen)
            os.write(self._fd, f"{self._answers.pop(0)}\n".encode())
        wanted = self._steps[place].shows
        if (
            wanted
            and len(wanted) > 1
            and wanted[-1] == INTERRUPT
            and place not in self._interrupted
        ):
            shown = {masked(line) for line in self._lines(part)}
            if all(line == GAP or masked(line) in shown for line in wanted[:-1]):
                self._interrupted.add(place)
                os.write(self._fd, b"\x03")

"""The side that outlives every kill: starts children, hears their acknowledgements, keeps count."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .shim import Plan, build

ROOT = Path(__file__).resolve().parent.parent.parent.parent


@dataclass
class Run:
    """What one child did."""

    exit: int = 0
    count: int = 0
    fired: int = 0
    result: Any = None
    acknowledged: bool = False
    error: dict[str, Any] | None = None
    crash: dict[str, Any] | None = None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def killed(self) -> bool:
        return self.exit == -signal.SIGKILL

    @property
    def hung(self) -> bool:
        return self.exit == -signal.SIGALRM


class Zygote:
    """The process that forks the children; see zygote.py."""

    def __init__(self, shim: Path, *wrapper: str) -> None:
        path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
        # For `wrapper`, a tracer, the shim is set behind it, so that it is not traced itself.
        preload = ["env", f"LD_PRELOAD={shim}"]
        self._process = subprocess.Popen(
            [*wrapper, *preload, sys.executable, "-m", "tests.vault.torture.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def send(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, until: float | None = None) -> dict[str, Any] | None:
        """The next line, or None when there is none until that time."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._heard:
            wait = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([descriptor], [], [], wait)[0]:
                return None
            more = os.read(descriptor, 1 << 20)
            if not more:
                raise RuntimeError("the forking process ended")
            self._heard += more
        line, self._heard = self._heard.split(b"\n", 1)
        record: dict[str, Any] = json.loads(line)
        return record

    def start(self, **command: Any) -> Iterator[dict[str, Any]]:
        """Starts a child; yields what it says until it has ended, which is the last line."""
        self.send(command)
        while True:
            record = self.hear()
            assert record is not None
            yield record
            if "exit" in record:
                return

    def life(
        self,
        place: Path,
        steps: list[dict[str, Any]],
        kill_after: float | None,
        log: Path | None = None,
    ) -> list[dict[str, Any]]:
        """A child that works through `steps`, killed after so many seconds if it still lives. What it said."""
        self.send({"run": "life", "place": str(place), "steps": steps, "log": str(log or "")})
        first = self.hear()
        assert first is not None
        said: list[dict[str, Any]] = []
        until = None
        if kill_after is not None:
            # Its start is no part of its life.
            begun = self.hear()
            assert begun is not None
            said.append(begun)
            if "exit" in begun:
                return said
            until = time.monotonic() + kill_after
        while True:
            record = self.hear(until)
            if record is None:
                # One that has just ended by itself says so in the next line.
                with suppress(ProcessLookupError):
                    os.kill(first["pid"], signal.SIGKILL)
                until = None
            else:
                said.append(record)
                if "exit" in record:
                    return said

    def operation(
        self,
        name: str,
        place: Path,
        plan: Plan | None = None,
        *,
        log: Path | None = None,
        record_all: bool = False,
        reopen: bool = False,
    ) -> Run:
        """One operation in one child."""
        plan = plan or Plan()
        run = Run()
        for record in self.start(
            run="operation",
            operation=name,
            place=str(place),
            mode=int(plan.mode),
            target=plan.target,
            mask=int(plan.mask),
            error=plan.error,
            sticky=plan.sticky,
            log=str(log) if log else "",
            record=record_all,
            reopen=reopen,
        ):
            run.report.update(record)
            if "crash" in record:
                run.crash = record["crash"]
            if "count" in record:
                run.count, run.fired = record["count"], record["fired"]
                run.error = record.get("error")
                run.acknowledged = "result" in record
                run.result = record.get("result")
            run.exit = record.get("exit", run.exit)
        return run


@contextmanager
def zygote() -> Iterator[Zygote]:
    """A forking process with a freshly built shim."""
    with (
        tempfile.TemporaryDirectory(prefix="mdk-shim-") as directory,
        Zygote(build(Path(directory))) as started,
    ):
        yield started

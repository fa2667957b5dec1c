"""Kill sweeps: an operation is killed at each of its calls, and what is left is held against an unkilled run."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import keyring
from .operation import Once, Operation
from .runner import Run, Zygote, zygote
from .shim import Kind, Mode, Plan
from .world import Broken, Place, build, outline

Result = TypeVar("Result")


@dataclass
class Tally:
    """What came of many runs. `failures` names each run that broke a promise."""

    runs: int = 0
    calls: int = 0
    killed: int = 0
    inside: int = 0
    faults: int = 0
    tolerated: int = 0
    lost: int = 0
    broken: int = 0
    unopenable: int = 0
    wrong_key: int = 0
    other: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def fail(self, kind: str, where: str, text: str) -> None:
        name = kind if kind in {"lost", "broken", "unopenable", "wrong_key"} else "other"
        setattr(self, name, getattr(self, name) + 1)
        self.failures.append(f"{where}: {kind}: {text}")

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)
        self.errors.update(other.errors)
        self.failures.extend(other.failures)


class Bench:
    """Worlds prepared once per operation, and a directory for the runs."""

    def __init__(self, root: Path, forks: Zygote) -> None:
        self.root = root
        self.zygote = forks
        # Every run is at this one path: side records name paths. The runs of one operation are in the same directories,
        # too, whatever other operations do in between: to a keyring's key, an account elsewhere is a copy.
        self.run = root / "run"
        self._inside = "world"
        self.world = build(self.run).copy(root / "world")
        self._ready: dict[str, tuple[Place, Any, Run]] = {}

    def ready(self, operation: Operation) -> tuple[Place, Any, Run]:
        """The world of an operation, the state after an undisturbed run, and that run."""
        if operation.name not in self._ready:
            made = despite_deaths(operation, lambda: self._prepare(operation))
            self._ready[operation.name] = made
        return self._ready[operation.name]

    def _prepare(self, operation: Operation) -> tuple[Place, Any, Run]:
        self._enter(operation.name)
        trial = self.world.copy(self.run)
        if operation.mask & Kind.SEND:
            keyring.put({})
        operation.setup(trial)
        if isinstance(operation, Once):
            with trial.alice() as alice:
                trial.learn(before=outline(alice))
        if operation.mask & Kind.SEND:
            trial.learn(keyring=keyring.entries())
        place = trial.copy(self.root / operation.name)
        run = self.zygote.operation(operation.name, trial.root, Plan(mask=operation.mask))
        assert run.exit == 0, f"{operation.name}: {run}"
        assert run.acknowledged, f"{operation.name}: {run}"
        return place, operation.check(trial, acknowledged=True), run

    def _enter(self, name: str) -> None:
        """Brings the directories of an operation to the path of the runs."""
        if name != self._inside:
            self.run.rename(self.root / f"aside-{self._inside}")
            if (aside := self.root / f"aside-{name}").exists():
                aside.rename(self.run)
            self._inside = name

    def fresh(self, operation: Operation) -> Place:
        prepared = self.ready(operation)[0]
        self._enter(operation.name)
        place = prepared.copy(self.run)
        if operation.mask & Kind.SEND:
            keyring.put(place.facts["keyring"])
        return place


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench, with a keyring where this system has one."""
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="mdk-torture-"))
        if not keyring.missing():
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="mdk-keyring-"))
            stack.enter_context(keyring.session(Path(home)))
        yield Bench(Path(root).resolve(), stack.enter_context(zygote()))


def examine(
    operation: Operation, place: Place, run: Run, control: Any, tally: Tally, at: str
) -> None:
    """Everything that must hold after a run, whatever ended it."""
    try:
        operation.check(place, acknowledged=run.acknowledged, control=control)
    except Broken as broken:
        tally.fail(broken.kind, at, str(broken))
    except Exception as error:  # noqa: BLE001
        tally.fail("broken", at, f"{type(error).__name__}: {error}")


def despite_deaths(
    operation: Operation,
    once: Callable[[], Result],
    sound: Callable[[Result], bool] = lambda _: True,
) -> Result:
    """What `once` gives; again, if the keyring has died of itself, since what comes of that says nothing of us."""

    def died() -> bool:
        return bool(operation.mask & Kind.SEND) and keyring.pid() is None

    for _ in range(2):
        try:
            result = once()
        except Exception:
            if not died():
                raise
        else:
            if sound(result) or not died():
                return result
    return once()


def with_keyring(
    operation: Operation, once: Callable[[], tuple[Result, Tally]]
) -> tuple[Result, Tally]:
    """One run, repeated where the death of the keyring is what failed it."""
    return despite_deaths(operation, once, lambda result: not result[1].failures)


def kill_once(stand: Bench, operation: Operation, plan: Plan) -> tuple[Run, Tally]:
    """One run that is killed at one call."""
    return with_keyring(operation, lambda: _kill_once(stand, operation, plan))


def _kill_once(stand: Bench, operation: Operation, plan: Plan) -> tuple[Run, Tally]:
    tally = Tally(runs=1)
    _, control, _ = stand.ready(operation)
    place = stand.fresh(operation)
    run = stand.zygote.operation(operation.name, place.root, plan)
    at = f"{operation.name} {plan.mode.name.lower()} {plan.target}"
    if run.killed:
        tally.killed = tally.inside = 1
    elif run.hung:
        tally.fail("hang", at, "")
    elif run.crash or run.error or run.exit:
        tally.fail("crash", at, f"{run.exit} {run.crash or run.error}")
    examine(operation, place, run, control, tally, at)
    return run, tally


def sweep(stand: Bench, operation: Operation, *, every: int = 1, seed: int = 0) -> Tally:
    """Kills at every call (`every` is 1), or at each n-th from a seeded start: before it, and half-way or after it."""
    tally = Tally(calls=stand.ready(operation)[2].count)
    modes = (Mode.KILL_BEFORE, Mode.KILL_TORN)
    # The number of calls varies a little from run to run: the first kill is not among the last of them, and a run that
    # outlives its kill says that the end is reached.
    first = min(every, max(tally.calls * 7 // 8, 1))
    start = 1 if every == 1 else random.Random(f"{seed} {operation.name}").randint(1, first)
    for n, target in enumerate(range(start, 100_000, every)):
        killed = False
        for mode in modes if every == 1 else (modes[n % 2],):
            run, one = kill_once(stand, operation, Plan(mode, target, operation.mask))
            tally.add(one)
            killed = killed or run.killed
        if not killed:
            return tally
    raise AssertionError("an operation without end")

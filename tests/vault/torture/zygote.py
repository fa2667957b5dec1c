"""A process with the shim and `mdk` loaded that forks a child for every run, which takes a millisecond, not a hundred.

Commands come as lines of JSON on stdin; what the children report goes to stdout, a line each. Nothing is opened before
the fork, so each child is as fresh as a new interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdk import errors

from . import life, operations
from .shim import Kind, Mode, Plan, Shim
from .world import Place

# A child that takes longer hangs.
HANG = 60


def say(**record: Any) -> None:
    os.write(1, json.dumps(record).encode() + b"\n")


def plan_of(command: dict[str, Any]) -> Plan:
    return Plan(
        Mode(command["mode"]),
        command["target"],
        Kind(command["mask"]),
        command["error"],
        command["sticky"],
    )


def error_of(error: BaseException) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "typed": isinstance(error, errors.MdkError) and not isinstance(error, errors.InternalError),
        "text": str(error),
    }


def run_operation(command: dict[str, Any], shim: Shim) -> None:
    """One call of one operation with the shim armed around it; after a fault, what became of the state."""
    operation = operations.by_name(command["operation"])
    place = Place(Path(command["place"]))
    fault = command["mode"] in (Mode.FAIL, Mode.FAIL_TORN)
    log = open_log(command)
    shim.plain_renames(operation.plain_renames)
    if command["record"]:
        # From before the first change, so that what is on the disk is known from the beginning.
        shim.arm(place.watched, plan_of(command), log)
    context = operation.prepare(place)
    before = operation.fingerprint(place, context) if fault else None
    if command["record"]:
        shim.mark("begin")
    else:
        shim.arm(place.watched, plan_of(command), log)
    result: Any = None
    raised: BaseException | None = None
    try:
        result = operation.call(place, context)
    except Exception as error:  # noqa: BLE001
        raised = error
    shim.mark("end")
    if not command["record"]:
        shim.disarm()
    report: dict[str, Any] = {"count": shim.count, "fired": shim.fired}
    if raised is not None:
        report["error"] = error_of(raised)
        if fault:
            # The cause is gone now.
            report.update(operation.recover(place, context, before, bool(command["reopen"])))
    else:
        report["result"] = result
    say(**report)
    operation.finish(place, context)


def open_log(command: dict[str, Any]) -> int:
    if not command["log"]:
        return -1
    return os.open(command["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)


def run_life(command: dict[str, Any], shim: Shim) -> None:
    """Calls over the whole API, until they are done or this process is killed."""
    place = Place(Path(command["place"]))
    log = open_log(command)
    if log >= 0:
        shim.arm(place.watched, Plan(), log)

    def tell(**record: Any) -> None:
        # The mark first: what the parent hears of must lie before it in the record.
        shim.mark(json.dumps(record))
        say(**record)

    life.live(place, command["steps"], tell)


RUNS: dict[str, Callable[[dict[str, Any], Shim], None]] = {
    "operation": run_operation,
    "life": run_life,
}


def main() -> None:
    shim = Shim()
    shim.no_locks()
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 0
            try:
                signal.alarm(HANG)
                say(pid=os.getpid())
                RUNS[command["run"]](command, shim)
            except BaseException as error:  # noqa: BLE001
                say(crash=error_of(error))
                code = 1
            # Destructors of what is still open are not part of the run.
            os._exit(code)
        _, status = os.waitpid(child, 0)
        say(exit=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()

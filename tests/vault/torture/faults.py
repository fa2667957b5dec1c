"""Faults: each call of an operation fails, once or from there on, as a full disk, a broken one or a quota makes it."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator

from .kill import Bench, Tally, examine, with_keyring
from .operation import Operation
from .shim import ERRORS, Kind, Mode, Plan

# No fault of a file is a bug of ours, a mistake of the caller or a question of the protocol.
# And none of these faults damages anything: to say so would be a lasting verdict from a passing cause.
NOT_EXPECTED = {
    "InternalError",
    "WrongKey",
    "WrongAccount",
    "InvalidInput",
    "GroupUnrecoverable",
    "CorruptDatabase",
    "DatabaseDamaged",
    "PathChanged",
}


def fault_once(
    stand: Bench, operation: Operation, plan: Plan, *, reopen: bool
) -> tuple[bool, Tally]:
    """One run with one fault: the error is typed, nothing was changed, and the same call then succeeds."""
    return with_keyring(operation, lambda: _fault_once(stand, operation, plan, reopen=reopen))


def _fault_once(
    stand: Bench, operation: Operation, plan: Plan, *, reopen: bool
) -> tuple[bool, Tally]:
    tally = Tally(runs=1)
    _, control, _ = stand.ready(operation)
    place = stand.fresh(operation)
    run = stand.zygote.operation(operation.name, place.root, plan, reopen=reopen)
    at = (
        f"{operation.name} {errno.errorcode[plan.error]} {plan.mode.name.lower()} {plan.target}"
        f"{' on' if plan.sticky else ''}{' reopen' if reopen else ''}"
    )
    if run.hung:
        tally.fail("hang", at, "")
        return True, tally
    if run.exit != 0 or run.crash:
        tally.fail("crash", at, f"{run.exit} {run.crash}")
        return True, tally
    if run.fired:
        tally.faults = 1
    acknowledged = run.acknowledged
    if run.error:
        tally.errors[run.error["class"]] += 1
        if not run.error["typed"] or run.error["class"] in NOT_EXPECTED:
            tally.fail("untyped", at, f"{run.error}")
        if "stuck" in run.report:
            tally.fail("stuck", at, f"{run.error['class']}, then {run.report['stuck']}")
        if "closed" in run.report and not operation.may_close:
            tally.fail("stuck", at, f"{run.error['class']}, then {run.report['closed']}")
        if "close_error" in run.report:
            tally.fail("close", at, f"{run.error['class']}, then {run.report['close_error']}")
        stuck = plan.sticky and plan.mask & Kind.SEND
        left = run.report.get("left", [])
        if not run.report["unchanged"] and not (stuck and operation.may_leave(left)):
            tally.fail("changed", at, f"{run.error} {run.report.get('left', '')}")
        if "retry_error" in run.report:
            tally.fail("no_retry", at, f"{run.error['class']}, then {run.report['retry_error']}")
        acknowledged = "retry" in run.report
    elif run.fired:
        # It did without the call, or did it another way; what it said must hold all the more.
        tally.tolerated = 1
    run.acknowledged = acknowledged
    examine(operation, place, run, control, tally, at)
    return bool(run.fired), tally


def plans(error: int, target: int) -> Iterator[tuple[Plan, bool]]:
    """The ways in which one call fails; the second value says whether the database is reopened before the retry."""
    mask = ERRORS[error]
    yield Plan(Mode.FAIL, target, mask, error), target % 2 == 0
    # Where nothing can be removed any more, nothing can be cleaned up either.
    lasting = mask & ~Kind.UNLINK
    yield Plan(Mode.FAIL, target, lasting, error, sticky=True), target % 2 == 1
    if error in {errno.ENOSPC, errno.EDQUOT}:
        # Half of it still fits.
        yield Plan(Mode.FAIL_TORN, target, lasting, error, sticky=True), target % 2 == 0


def sweep(stand: Bench, operation: Operation, *, every: int = 1, seed: int = 0) -> Tally:
    """Each error at every call that can give it, or at each n-th from a seeded start."""
    tally = Tally(calls=stand.ready(operation)[2].count)
    for error, calls in ERRORS.items():
        if calls == Kind.SEND and not operation.mask & Kind.SEND:
            continue
        rng = random.Random(f"{seed} {operation.name} {error}")
        # An operation of few calls is not stepped over, and not begun at its end: their number varies a little.
        start = rng.randint(1, min(every, max(tally.calls * 7 // 8, 1)))
        for target in range(start, 100_000, every):
            ways = list(plans(error, target))
            fired = False
            for plan, reopen in ways if every == 1 else [rng.choice(ways)]:
                hit, one = fault_once(stand, operation, plan, reopen=reopen)
                tally.add(one)
                fired = fired or hit
            if not fired:
                break
    return tally

"""The list of errors is complete, and every one can be told apart, explained and pickled."""

from __future__ import annotations

import pickle
import re
import traceback

import pytest

from mdk import Keys, _mdk, errors

CLASSES: list[type[errors.MdkError]] = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.MdkError)
]
# Parents that exist to be caught; everything else is raised by the extension.
PARENTS = {
    "MdkError",
    "GroupError",
    "InsecureFile",
    "KeyringError",
    "BackupError",
    "CryptoError",
    "TransportError",
}
# Only Python knows of event loops.
OF_PYTHON = {"WrongLoop"}


def test_rust_raises_exactly_the_documented_classes() -> None:
    assert set(_mdk._error_classes()) == {c.__name__ for c in CLASSES} - PARENTS - OF_PYTHON
    assert len(_mdk._error_classes()) == len(set(_mdk._error_classes()))


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_every_class(error: type[errors.MdkError]) -> None:
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).lower()
    assert error.code == words
    assert error.__doc__
    raised = error("what happened", hint="what to do")
    assert str(raised) == "what happened"
    assert raised.hint == "what to do"
    again = pickle.loads(pickle.dumps(raised))
    assert type(again) is error
    assert (str(again), again.code, again.hint) == (str(raised), error.code, "what to do")


def test_details_survive_pickling() -> None:
    error = errors.InvalidInput("name: too large", field="name", limit=256, value=257)
    again = pickle.loads(pickle.dumps(error))
    assert (again.field, again.limit, again.value) == ("name", 256, 257)
    again = pickle.loads(pickle.dumps(errors.DatabaseBusy("busy", pid=17)))
    assert again.pid == 17
    again = pickle.loads(pickle.dumps(errors.NoRelayAccepted("no", reasons={"wss://a": "no"})))
    assert again.reasons == {"wss://a": "no"}
    who = Keys.generate().public_key
    for named in (errors.KeyPackageNotFound, errors.IncompatibleMember):
        again = pickle.loads(pickle.dumps(named("none", who=[who])))
        assert again.who == (who,)


def test_codes_are_unique() -> None:
    assert len({c.code for c in CLASSES}) == len(CLASSES)


def test_builtins_are_caught() -> None:
    for ours, builtin in (
        (errors.InvalidInput, ValueError),
        (errors.NotFound, LookupError),
        (errors.NotAllowed, PermissionError),
        (errors.StorageError, OSError),
        (errors.TransportError, ConnectionError),
    ):
        assert issubclass(ours, builtin)


def test_a_traceback_shows_the_hint() -> None:
    """Who runs a program for the first time reads the last lines, and nothing else."""
    error = errors.KeyringUnavailable("the keyring cannot be reached")
    shown = traceback.format_exception(error)
    assert shown[-1] == f"Hint: {error.hint}\n"
    again = pickle.loads(pickle.dumps(errors.NotConnected("away", hint="Wait.")))
    assert traceback.format_exception(again)[-1] == "Hint: Wait.\n"
    assert str(again) == "away"

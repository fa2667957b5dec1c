"""The object itself, and bugs."""

from .base import MdkError


class Closed(MdkError):
    """The object was closed."""

    code = "closed"
    hint: str | None = "Open it again, or make a new one."


class Forked(MdkError):
    """The object was opened before `os.fork()` and is used in the child: two owners would destroy the ratchets.

    Or the child opens an account, and one was open at the fork. It can open none, whichever it is: what SQLite knew
    then is inherited, with locks that nobody may release.
    """

    code = "forked"
    hint: str | None = (
        "Fork before the first account is opened, or open accounts in a process that is started anew (multiprocessing: "
        "start method 'spawn')."
    )


class WrongLoop(MdkError):
    """A client is used on another event loop than the one that it was started on; it would have waited for ever.

    A client whose loop has ended can be closed on any loop.
    """

    code = "wrong_loop"
    hint: str | None = (
        "Hand the call to the client's loop, asyncio.run_coroutine_threadsafe(call, loop), or open one client for each "
        "account on one loop that lives as long as the program."
    )


class Cancelled(MdkError):
    """A long operation was cancelled; nothing was changed."""

    code = "cancelled"
    hint: str | None = "Call it again to do it after all."


class Reentered(MdkError):
    """A callback of a call used the object that the call belongs to; it would have waited for itself."""

    code = "reentered"
    hint: str | None = "Use the object after the call has returned, or from another thread."


class InternalError(MdkError):
    """A bug in this package. After a panic the object refuses all work until it is opened again; the process lives."""

    code = "internal_error"
    hint: str | None = (
        "Please report it with the text. Close the object and open it again; the database is unharmed."
    )

"""How long the wait for a client to close may take."""

import asyncio
import logging

from mdk.config import CLOSE

_log = logging.getLogger("mdk.client")


async def until_closed(closing: "asyncio.Task[None]", drain: float) -> None:
    """Wait until an account is closed whose outbox had `drain` seconds. When the time is over, it goes on alone."""
    if (await asyncio.wait([closing], timeout=max(CLOSE, drain + 1)))[0]:
        await closing
        return
    _log.warning("the database is in use, and closes when that ends")
    closing.add_done_callback(lambda closed: closed.cancelled() or closed.exception())

"""A relay and a file server in this process, and helpers for tests of programs that use `mdk`.

The fixtures for pytest are in `mdk.testing.fixtures`.
"""

from mdk._mdk import Clock

from .blobs import BlobFaults, LocalBlossom
from .chat import Chat, HandlerFailed
from .clients import client, pair
from .relay import Faults, LocalRelay

__all__ = [
    "BlobFaults",
    "Chat",
    "Clock",
    "Faults",
    "HandlerFailed",
    "LocalBlossom",
    "LocalRelay",
    "client",
    "pair",
]

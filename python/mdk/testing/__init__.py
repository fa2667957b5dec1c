"""A relay in this process, and helpers for tests of programs that use `mdk`.

The fixtures for pytest are in `mdk.testing.fixtures`.
"""

from mdk._mdk import Clock

from .chat import Chat
from .clients import client, pair
from .relay import Faults, LocalRelay

__all__ = ["Chat", "Clock", "Faults", "LocalRelay", "client", "pair"]

"""Helpers for tests of programs that use `mdk`."""

from ._mdk import Clock

__all__ = ["Clock"]
